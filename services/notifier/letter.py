"""What a mail about an ended job says: composed once, written as plain text and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any
from uuid import UUID

from shared.messages import Message
from shared.messages.jobs import JobCancelledV1, JobFacts, JobFailedV1, JobSucceededV1

MILL = "pointcloud.ingest"
LONGEST_NAME = 80
LONGEST_VALUE = 200
MOST_VALUES = 12
PRODUCTS = "Products (the links ask for your API key)"

STYLE = {
    "body": "font:16px/1.5 system-ui,sans-serif;color:#1f2933;background:#f4f5f2;margin:0;padding:24px",
    "card": "max-width:600px;margin:0 auto;background:#fff;border-radius:8px;padding:28px 32px",
    "h1": "font-size:20px;line-height:1.3;margin:0 0 12px",
    "h2": "font-size:13px;color:#66707a;font-weight:600;margin:24px 0 4px",
    "p": "margin:0 0 8px",
    "cell": "padding:4px 16px 4px 0;vertical-align:top",
    "size": "padding:4px 16px 4px 0;text-align:right;color:#66707a;white-space:nowrap",
    "code": "font:14px ui-monospace,monospace;background:#f4f5f2;border-radius:4px;padding:8px 12px",
    "foot": "font-size:12px;color:#66707a;margin:24px 0 0;border-top:1px solid #e3e6e0;padding-top:12px",
    "link": "color:#0b6e4f",
}


@dataclass(frozen=True)
class Product:
    """A file that the job has made."""

    name: str
    media_type: str
    bytes: int


@dataclass(frozen=True)
class Facts:
    """What a letter says beyond the event.

    Attributes:
        cloud_name: the file's name, or the cloud's where it has no file yet.
        seconds: wall time of the last attempt.
    """

    workspace: str
    cloud_name: str | None = None
    source_bytes: int | None = None
    kind_title: str | None = None
    seconds: float | None = None
    products: Sequence[Product] = ()


@dataclass(frozen=True)
class Letter:
    """A letter's parts, as plain text; how they look is decided where they are written.

    Attributes:
        sections: a heading and its lines.
        files: name, size and address of each product.
        command: what gets the first product at a shell.
        footer: the small print.
    """

    subject: str
    headline: str
    summary: str = ""
    sections: list[tuple[str, list[str]]] = field(default_factory=list)
    files: list[tuple[str, str, str]] = field(default_factory=list)
    command: str = ""
    footer: list[str] = field(default_factory=list)


def compose(message: Message, facts: Facts, event_id: UUID, public_url: str) -> Letter:
    """The letter about the event of an ended job.

    Raises:
        TypeError: the event ends no job.
    """
    if not isinstance(message, JobSucceededV1 | JobFailedV1 | JobCancelledV1):
        raise TypeError(f"{message.TYPE} ends no job.")
    what = one_line(facts.cloud_name or facts.kind_title or message.kind, LONGEST_NAME)
    if facts.cloud_name and message.kind != MILL:
        what += f" ({one_line(facts.kind_title or message.kind, LONGEST_NAME)})"
    footer = _footer(message, facts, event_id, public_url)
    if isinstance(message, JobFailedV1):
        return _failed(message, what, footer)
    if isinstance(message, JobCancelledV1):
        return Letter(
            subject=f"Cancelled: {what}",
            headline=f"The work on {what} was cancelled",
            summary="Somebody asked for it. Whatever was stored before is still there.",
            footer=footer,
        )
    return _succeeded(message, facts, what, footer, public_url)


def _succeeded(
    message: JobSucceededV1, facts: Facts, what: str, footer: list[str], public_url: str
) -> Letter:
    milled = message.kind == MILL
    base = f"{public_url}/v1/jobs/{message.job_id}/products"
    values = [] if milled else list(_values(message.result))
    return Letter(
        subject=f"{'Milled' if milled else 'Done'}: {what}",
        headline=f"{what} is {'milled' if milled else 'done'}",
        summary=_summary(message, facts),
        sections=[("Result", values)] if values else [],
        files=[(p.name, read_size(p.bytes), f"{base}/{p.name}") for p in facts.products],
        command=(
            f"pointmill get {message.cloud_id} {facts.products[0].name}"
            if facts.products and message.cloud_id
            else ""
        ),
        footer=footer,
    )


def _summary(message: JobSucceededV1, facts: Facts) -> str:
    points, what = message.result.get("points"), "It"
    if message.kind == MILL and isinstance(points, int):
        size = f" ({read_size(facts.source_bytes)})" if facts.source_bytes else ""
        what = f"Its {points:,} points{size}"
    return f"{what} took {read_duration(facts.seconds)}." if facts.seconds is not None else ""


def _failed(message: JobFailedV1, what: str, footer: list[str]) -> Letter:
    error = message.error
    title = one_line(error.title or error.code, LONGEST_VALUE)
    happened = [title, *([one_line(error.detail, 1000)] if error.detail else [])]
    remedy = [("What you can do", [one_line(error.remedy, 1000)])] if error.remedy else []
    verb = "milled" if message.kind == MILL else "done"
    return Letter(
        subject=f"Failed: {what} - {title}",
        headline=f"{what} could not be {verb}",
        sections=[
            ("What happened", happened),
            *remedy,
            ("Code", [one_line(error.code, LONGEST_VALUE)]),
        ],
        footer=footer,
    )


def _footer(message: JobFacts, facts: Facts, event_id: UUID, public_url: str) -> list[str]:
    cloud = [f"Cloud {message.cloud_id}"] if message.cloud_id else []
    attempt = f", attempt {message.attempt}" if message.attempt else ""
    return [
        f"Job {message.job_id} ({message.kind}{attempt})",
        *cloud,
        f"{public_url}/v1/jobs/{message.job_id}",
        f"Event {event_id}: should this mail come twice, both copies name the same event.",
        f"You get it as a member of the workspace {one_line(facts.workspace, LONGEST_NAME)}.",
    ]


def _values(result: dict[str, Any]) -> list[str]:
    """The plain values of a result, one a line."""
    plain = {k: v for k, v in result.items() if isinstance(v, str | int | float | bool)}
    return [
        one_line(f"{name.replace('_', ' ')}: {value}", LONGEST_VALUE)
        for name, value in list(plain.items())[:MOST_VALUES]
    ]


def one_line(text: str, limit: int) -> str:
    """The text as one line without control or direction characters, shortened to the limit."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= limit else f"{words[: limit - 1].rstrip()}…"


def read_size(size: int) -> str:
    """A number of bytes as people say it, in decimal units."""
    if size < 1000:
        return f"{size} B"
    value, units = float(size), iter(("kB", "MB", "GB", "TB", "PB"))
    unit = ""
    while value >= 999.5 and unit != "PB":
        value, unit = value / 1000, next(units)
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def read_duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 9.95:
        return f"{max(seconds, 0.1):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def write_text(letter: Letter) -> str:
    """The letter as plain text."""
    blocks = [letter.headline, *([letter.summary] if letter.summary else [])]
    blocks += [
        "\n".join([heading, *(f"  {line}" for line in lines)]) for heading, lines in letter.sections
    ]
    if letter.files:
        widest = max(len(name) for name, _, _ in letter.files)
        lines = [f"  {name:<{widest}}  {size:>7}  {url}" for name, size, url in letter.files]
        blocks.append("\n".join([PRODUCTS, *lines]))
    if letter.command:
        blocks.append(f"At a shell:\n  {letter.command}")
    return "\n\n".join([*blocks, "\n".join(["-- ", *letter.footer])]) + "\n"


def write_html(letter: Letter) -> str:
    """The letter as HTML without scripts, pictures or anything from elsewhere."""
    parts = [_tag("h1", letter.headline)]
    if letter.summary:
        parts.append(_tag("p", letter.summary))
    for heading, lines in letter.sections:
        parts += [_tag("h2", heading), *(_tag("p", line) for line in lines)]
    if letter.files:
        rows = "".join(_row(*file) for file in letter.files)
        parts += [_tag("h2", PRODUCTS), f'<table cellspacing="0">{rows}</table>']
    if letter.command:
        command = f'<p style="{STYLE["code"]}">{escape(letter.command)}</p>'
        parts += [_tag("h2", "At a shell"), command]
    footer = "<br>".join(escape(line) for line in letter.footer)
    parts.append(f'<p style="{STYLE["foot"]}">{footer}</p>')
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(letter.subject)}</title></head>\n"
        f'<body style="{STYLE["body"]}"><div style="{STYLE["card"]}">\n'
        + "\n".join(parts)
        + "\n</div></body></html>\n"
    )


def _tag(name: str, text: str) -> str:
    return f'<{name} style="{STYLE[name]}">{escape(text)}</{name}>'


def _row(name: str, size: str, url: str) -> str:
    return (
        f'<tr><td style="{STYLE["cell"]}"><a style="{STYLE["link"]}" href="{escape(url)}">{escape(name)}</a></td>'
        f'<td style="{STYLE["size"]}">{escape(size)}</td></tr>'
    )

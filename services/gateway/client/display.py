"""Tables and pages for people. What others wrote is shown as text, never as markup or codes."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.gateway.client.api import Document
from services.gateway.client.pipeline import family_lines
from services.gateway.client.wording import (
    age,
    duration,
    error_sentence,
    how_it_ended,
    plain,
    points,
    progress,
    short,
    size,
    took,
)

# Piped tables are not cut to a screen that is not there.
PIPE_WIDTH = 200
# From here on a list of jobs has room for more than what identifies them.
ROOMY_WIDTH = 96
UNBROKEN = frozenset({"Job", "Cloud", "Project", "Kind", "State", "Name", "Size", "Age", "What"})
STYLES = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "queued": "blue",
    "waiting": "blue",
    "stored": "green",
    "empty": "yellow",
}


def console_for(*, stderr: bool = False) -> Console:
    """A console on one of our own streams, wide enough where nobody's screen limits it."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(plain(state), style=STYLES.get(state, ""))


def table_of(*headings: str, right: Sequence[str] = ()) -> Table:
    """An empty table in the style of all ours."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="bold",
        show_edge=False,
    )
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in right else "left",
            no_wrap=heading in UNBROKEN,
            overflow="ellipsis" if heading in UNBROKEN else "fold",
        )
    return table


def show_jobs(console: Console, jobs: Sequence[Document]) -> None:
    """The list of jobs; what each is at only where the screen has room for it."""
    if not jobs:
        console.print("No jobs.")
        return
    now = datetime.now(UTC)
    roomy = console.width >= ROOMY_WIDTH
    table = table_of("Job", "Kind", "State", "Age", *(["What"] if roomy else []))
    for job in jobs:
        row = [
            Text(job["id"]),
            Text(plain(job["kind"])),
            state_text(job["state"]),
            Text(age(job["created_at"], now)),
        ]
        table.add_row(*row, *([Text(_what(job))] if roomy else []))
    console.print(table)


def _what(job: Document) -> str:
    if job["state"] == "failed":
        return plain((job.get("error") or {}).get("code") or "")
    seconds = took(job)
    parts = (progress(job), points(job), duration(seconds) if seconds is not None else None)
    return ", ".join(part for part in parts if part)


def show_job(console: Console, job: Document) -> None:
    """Everything about one job, except a long result's depths."""
    now = datetime.now(UTC)
    head = Text.assemble((plain(job["kind"]), "bold"), "  ", state_text(job["state"]))
    if stage := progress(job):
        head.append(f"  {stage}")
    console.print(head)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in _job_lines(job, now):
        grid.add_row(label, value)
    console.print(grid)


def _job_lines(job: Document, now: datetime) -> list[tuple[str, Text]]:
    seconds = took(job)
    lines = [
        ("job", job["id"]),
        ("cloud", job.get("cloud")),
        ("retry of", job.get("retry_of")),
        *family_lines(job),
        ("created", f"{age(job['created_at'], now)} ago"),
        ("attempt", job["attempt"] or None),
        ("took", duration(seconds) if seconds is not None else None),
        *((f"  {name}", short(value)) for name, value in job["params"].items()),
    ]
    if job["params"]:
        lines.insert(-len(job["params"]), ("params", ""))
    if job.get("error"):
        lines.append(("error", error_sentence(job["error"])))
    shown = [(label, Text(plain(value))) for label, value in lines if value is not None]
    if result := job.get("result"):
        shown.append(("result", Text("")))
        shown.extend(_result_lines(result))
    return shown


def _result_lines(result: Document) -> list[tuple[str, Text]]:
    lines = []
    for name, value in result.items():
        if name == "warnings" and isinstance(value, list):
            told = [plain(f"{one['code']}: {one['message']}") for one in value]
            lines.append(("  warnings", Text("\n".join(told) or "none")))
        elif isinstance(value, dict | list) and len(short(value)) >= 60:
            lines.append((f"  {plain(name)}", Text(f"{len(value)} entries, see --json", "dim")))
        else:
            count = name == "points" and isinstance(value, int)
            lines.append((f"  {plain(name)}", Text(f"{value:,}" if count else short(value))))
    return lines


def show_kinds(console: Console, kinds: Sequence[Document]) -> None:
    """The kinds of jobs with their parameters."""
    if not kinds:
        console.print("No kinds: no processor has announced itself yet.")
        return
    table = table_of("Kind", "What it does", "Parameters")
    for kind in kinds:
        title = plain(kind["title"] or kind["description"])
        if kind.get("needs_source"):
            title += " (needs --cloud)"
        if kind.get("paused_at"):
            title += " (paused)"
        table.add_row(plain(kind["kind"]), title, _parameters(kind["params_schema"]))
    console.print(table)


def _parameters(schema: Document) -> str:
    required = set(schema.get("required", ()))
    return ", ".join(
        plain(name) if name in required else f"[{plain(name)}]"
        for name in schema.get("properties", {})
    )


def show_projects(console: Console, projects: Sequence[Document]) -> None:
    """The list of projects."""
    if not projects:
        console.print("No projects.")
        return
    now = datetime.now(UTC)
    table = table_of("Project", "Name", "Age", "Description")
    for project in projects:
        table.add_row(
            project["id"],
            plain(project["name"]),
            age(project["created_at"], now),
            short(project["description"]),
        )
    console.print(table)


def show_clouds(console: Console, clouds: Sequence[Document]) -> None:
    """The list of clouds."""
    if not clouds:
        console.print("No clouds.")
        return
    now = datetime.now(UTC)
    table = table_of("Cloud", "Name", "State", "Size", "Age", right=("Size",))
    for cloud in clouds:
        source = cloud.get("source")
        table.add_row(
            cloud["id"],
            plain(cloud["name"]),
            state_text(cloud["state"]),
            size(source["bytes"]) if source else "",
            age(cloud["created_at"], now),
        )
    console.print(table)


def show_products(console: Console, cloud_id: str, products: Sequence[Document]) -> None:
    """A cloud's products, and how to get one."""
    if not products:
        console.print("No products.")
        return
    table = table_of("Product", "Size", "Type", right=("Size",))
    for product in products:
        table.add_row(plain(product["name"]), size(product["bytes"]), plain(product["media_type"]))
    console.print(table)
    console.print()
    names = [plain(product["name"]) for product in products]
    first = "copc" if "copc" in names else names[0]
    command = f"pointmill get {plain(cloud_id)} {first}"
    console.print(Text.assemble(("Get one: ", "dim"), command), soft_wrap=True)


def show_ended(console: Console, job: Document) -> None:
    """One line on how a job ended."""
    console.print(
        Text.assemble(
            state_mark(job["state"]), f" {plain(job['kind'])} {job['id']}: ", how_it_ended(job)
        ),
        soft_wrap=True,
    )


def state_mark(state: str) -> Text:
    """A sign for a state, in its colour."""
    sign = {"succeeded": "✓", "failed": "✗", "cancelled": "-"}.get(state, "·")
    return Text(sign, style=STYLES.get(state, ""))

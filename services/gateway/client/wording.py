"""Numbers, times and names as people read them. Pure text, nothing of a terminal."""

import json
from datetime import UTC, datetime
from typing import Any

from services.gateway.client.api import Document

# Endings of the files that the usual products make; others are told by their media type.
ENDINGS = {"copc": ".copc.laz", "item": ".item.json"}
ENDINGS_BY_TYPE = {
    "image/png": ".png",
    "application/json": ".json",
    "application/geo+json": ".geojson",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "image/tiff": ".tif",
    "application/vnd.maxar.archive.3tz+zip": ".3tz",
}
SOURCE_ENDINGS = (".copc.laz", ".laz", ".las")


def plain(text: object) -> str:
    """Text of others made safe for a terminal: what would steer it is shown, not obeyed."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in str(text)
    )


def size(count: int) -> str:
    """Bytes in decimal units: `532 B`, `61.5 MB`."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        # 999.95 would be written as 1000.0.
        if value < 999.95 or unit == "TB":
            break
    return f"{value:.1f} {unit}"


def duration(seconds: float) -> str:
    """A span of time: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 2 h`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def left(seconds: float) -> str:
    """How long it will still take, no more exact than it can be: `about 12 s left`."""
    whole = max(round(seconds), 1)
    if whole < 90:
        return f"about {whole} s left"
    if whole < 90 * 60:
        return f"about {round(whole / 60)} min left"
    return f"about {round(whole / 3600)} h left"


def moment(text: str | None) -> datetime | None:
    """A time of the API."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def age(text: str, now: datetime) -> str:
    """How long ago a time of the API was, in one unit: `3 s`, `6 min`, `2 h`, `5 d`."""
    then = moment(text) or now
    seconds = max(0, int((now - then).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def took(job: Document) -> float | None:
    """Seconds between a job's start and its end; None if it has not had both."""
    start, end = moment(job.get("started_at")), moment(job.get("ended_at"))
    return None if start is None or end is None else (end - start).total_seconds()


def points(job: Document) -> str | None:
    """How many points the job milled, if that is what it did: `4,200,000 points`."""
    count = (job.get("result") or {}).get("points")
    if not isinstance(count, int):
        return None
    return "1 point" if count == 1 else f"{count:,} points"


def stage(job: Document) -> str:
    """What a running job is at: `build 40 %`."""
    told = job.get("progress")
    if job["state"] != "running" or not told:
        return ""
    percent = f"{float(told.get('fraction') or 0):.0%}".replace("%", " %")
    return f"{plain(told.get('stage') or 'running')} {percent}"


def seconds_left(job: Document) -> float | None:
    """How long a running job will still take, if it is known."""
    told = job.get("progress") or {}
    eta = told.get("eta_seconds") if job["state"] == "running" else None
    return None if eta is None else float(eta)


def progress(job: Document) -> str:
    """What a running job is at, and for how long: `build 40 %, about 12 s left`."""
    eta = seconds_left(job)
    return stage(job) if eta is None else f"{stage(job)}, {left(eta)}"


def error_sentence(error: Document) -> str:
    """An error of the API, of a job or of this command: what, its code, and what to do."""
    what = plain(error.get("detail") or error.get("title") or "It failed").rstrip(".")
    remedy = plain(error.get("remedy") or "")
    return f"{what} ({plain(error.get('code') or 'unknown')}). {remedy}".rstrip()


def how_it_ended(job: Document) -> str:
    """One line about a job's state: what came out, what went wrong, or where it is."""
    state = job["state"]
    if state == "failed":
        return f"failed: {error_sentence(job.get('error') or {})}"
    seconds = took(job)
    parts = [state, progress(job).strip(), points(job) if state == "succeeded" else None]
    if seconds is not None:
        parts.append(f"in {duration(seconds)}")
    return ", ".join(part for part in parts if part)


def short(value: Any, longest: int = 60) -> str:
    """A JSON value in at most so many characters."""
    text = plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def file_name(cloud: Document, product: Document) -> str:
    """The name under which a product is saved: `town.copc.laz`, `town.preview.png`."""
    source = (cloud.get("source") or {}).get("name") or cloud.get("name") or cloud["id"]
    # The name comes from whoever uploaded it: no folders, nothing hidden, nothing unprintable.
    stem = plain(source).replace("\\", "/").rsplit("/", 1)[-1].lstrip(".")
    for ending in SOURCE_ENDINGS:
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    name = product["name"].replace("/", "_")
    ending = ENDINGS.get(name) or f".{name}{ENDINGS_BY_TYPE.get(product['media_type'], '')}"
    return f"{stem[:200] or cloud['id']}{ending}"

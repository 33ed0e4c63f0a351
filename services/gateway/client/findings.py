"""What `pointmill check` shows on the screen: one file in full, several as a table."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.gateway.client.api import Document
from services.gateway.client.display import table_of
from services.gateway.client.wording import plain, size

_MARKS = {"fine": ("✓", "green"), "warnings": ("!", "yellow"), "refused": ("✗", "red")}
_RECORDS_SHOWN = 4
_LARGEST_IN_FULL = 1e15


class Checked(Protocol):
    """What is shown of a check."""

    file: str
    error: Document | None
    warnings: list[Document]
    facts: Document | None
    bytes_read: int
    seconds: float

    @property
    def verdict(self) -> str:
        """`refused`, `warnings` or `fine`."""
        ...


def show_checks(console: Console, checks: Sequence[Checked]) -> None:
    """One file in full, several as a table with the reasons below."""
    if len(checks) == 1:
        _show_one(console, checks[0])
    else:
        _show_many(console, checks)


def _show_one(console: Console, one: Checked) -> None:
    console.print(Text.assemble(_mark(one), f" {_name(one)} {_verdict(one)}"), soft_wrap=True)
    if one.error is not None:
        _show_grid(console, _error_lines(one.error))
    if one.facts is not None:
        console.print()
        _show_grid(console, _fact_lines(one.facts))
    if one.warnings:
        console.print()
        _show_grid(
            console,
            [(plain(warning["code"]), _text(warning)) for warning in one.warnings],
            "yellow",
        )
    if one.bytes_read:
        console.print()
        took = f"{max(1, round(one.seconds * 1000))} ms"
        console.print(Text(f"Read {size(one.bytes_read)} of the file in {took}.", "dim"))


def _verdict(one: Checked) -> str:
    if one.error is not None:
        return f"cannot be milled: {plain(one.error['code'])}"
    count = len(one.warnings)
    if not count:
        return "can be milled"
    return f"can be milled, with {count} warning{'s' if count > 1 else ''}"


def _error_lines(error: Document) -> list[tuple[str, str]]:
    lines = [("why", error["title"]), ("found", error["detail"]), ("do", error["remedy"])]
    return [(label, plain(text)) for label, text in lines]


def _fact_lines(facts: Document) -> Iterator[tuple[str, str]]:
    kind = f"{facts['format']}, LAS {facts['version']}, point format {facts['point_format']}"
    if facts["extra_bytes"]:
        kind += f" and {facts['extra_bytes']} extra bytes"
    yield "format", f"{kind}, {facts['record_length']} bytes a point"
    yield "size", f"{size(facts['bytes'])}{_chunks(facts)}"
    yield "points", f"{facts['points']:,}"
    if bounds := facts["bounds"]:
        for axis, low, high, scale in zip(
            "xyz", bounds["min"], bounds["max"], facts["scales"], strict=True
        ):
            extent = coordinate(high - low, scale)
            yield axis, f"{coordinate(low, scale)} to {coordinate(high, scale)} ({extent})"
    yield "crs", _crs(facts["crs"])
    yield "heights", _heights(facts["crs"])
    if facts["gps_time"]:
        told = {
            "standard": "adjusted standard time",
            "week": "seconds of the week, which is not stated",
        }
        yield "gps time", told[facts["gps_time"]]
    if facts["records"]:
        yield "records", _records(facts["records"])
    made = ", ".join(plain(part) for part in (facts["software"], facts["created"]) if part)
    if made:
        yield "made by", made


def _chunks(facts: Document) -> str:
    if not facts["chunks"]:
        return ""
    each = f" of up to {facts['chunk_size']:,} points" if facts["chunk_size"] else ""
    return f", {facts['chunks']:,} chunk{'s' if facts['chunks'] > 1 else ''}{each}"


def coordinate(value: float, scale: float) -> str:
    """A coordinate with as many decimals as its scale has."""
    if abs(value) >= _LARGEST_IN_FULL:
        return f"{value:.6g}"
    decimals = min(max(math.ceil(-math.log10(scale) - 1e-9), 0), 9)
    return f"{value:.{decimals}f}"


def _crs(crs: Document | None) -> str:
    if crs is None:
        return "not stated"
    said = [f"EPSG:{crs['epsg']}" if crs["epsg"] else "", plain(crs["name"] or "")]
    origin = {"wkt": "WKT", "geotiff": "GeoTIFF keys"}[crs["origin"]]
    return f"{' '.join(filter(None, said)) or 'without name or code'} (from {origin})"


def _heights(crs: Document | None) -> str:
    if crs is None or not (crs["vertical_epsg"] or crs["vertical_name"]):
        return "no vertical system stated"
    code = f"EPSG:{crs['vertical_epsg']}" if crs["vertical_epsg"] else ""
    return " ".join(filter(None, [code, plain(crs["vertical_name"] or "")]))


def _records(records: Sequence[Document]) -> str:
    names = [f"{plain(one['user_id'])} {one['record_id']}" for one in records[:_RECORDS_SHOWN]]
    more = len(records) - _RECORDS_SHOWN
    return ", ".join([*names, *([f"and {more} more"] if more > 0 else [])])


def _show_many(console: Console, checks: Sequence[Checked]) -> None:
    table = table_of("", "File", "Format", "Points", "CRS", "Found", right=("Points",))
    for one in checks:
        table.add_row(_mark(one), _name(one), *_cells(one.facts), _found(one))
    console.print(table)
    for one in checks:
        if one.error is not None:
            console.print()
            console.print(Text(_name(one), "bold"), soft_wrap=True)
            _show_grid(console, _error_lines(one.error))
    console.print()
    good = sum(one.error is None for one in checks)
    warned = sum(one.verdict == "warnings" for one in checks)
    beside = f", {warned} of them with warnings" if warned else ""
    console.print(f"{good} of {len(checks)} can be milled{beside}.")
    if warned:
        hint = Text.assemble(("What a warning means: ", "dim"), "pointmill check FILE")
        console.print(hint, soft_wrap=True)


def _cells(facts: Document | None) -> tuple[str, str, str]:
    if facts is None:
        return "", "", ""
    crs = facts["crs"] or {}
    code = f"EPSG:{crs['epsg']}" if crs.get("epsg") else plain(crs.get("name") or "")
    kind = f"{facts['format']} {facts['version']}/{facts['point_format']}"
    return kind, f"{facts['points']:,}", code


def _found(one: Checked) -> Text:
    if one.error is not None:
        return Text(plain(one.error["code"]), style="red")
    return Text(", ".join(plain(warning["code"]) for warning in one.warnings), style="yellow")


def _show_grid(
    console: Console,
    lines: Sequence[tuple[str, str]] | Iterator[tuple[str, str]],
    style: str = "dim",
) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in lines:
        grid.add_row(Text(f"  {label}"), Text(value))
    console.print(grid)


def _name(one: Checked) -> str:
    return plain(Path(one.file).name or one.file)


def _text(warning: Document) -> str:
    return plain(warning["message"])


def _mark(one: Checked) -> Text:
    sign, style = _MARKS[one.verdict]
    return Text(sign, style=style)

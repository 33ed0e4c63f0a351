"""The chaos table: which fault was tried, by how many tests, and which invariants were held against it.

A test says its row by `@pytest.mark.row("D4", "memory alarm of the broker")`; the words may name the
test's parameters. What `tests.fixtures.invariants.check` has held is taken from the client's ledger.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

ROW = "chaos-row"
HELD = "chaos-held"


@dataclass
class Row:
    """One line of the table."""

    passed: int = 0
    failed: int = 0
    seconds: float = 0.0
    held: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        names = sorted(self.held, key=lambda name: int(name[1:]))
        verdict = "holds" if not self.failed else f"**{self.failed} FAILED**"
        return f"{verdict} ({self.passed}) | {' '.join(names)} | {self.seconds:.0f} s"


def note_row(item: pytest.Item) -> None:
    """Write the test's row where its reports carry it, whichever process it runs in."""
    mark = item.get_closest_marker("row")
    if mark is None:
        return
    number, words = mark.args
    spec = getattr(item, "callspec", None)
    values = {} if spec is None else {name: _shown(value) for name, value in spec.params.items()}
    item.user_properties.append((ROW, [number, words.format(**values)]))


def _shown(value: object) -> str:
    return str(getattr(value, "__name__", value)).replace("_", " ")


def table(reports: Iterator[pytest.TestReport]) -> list[str]:
    """The lines of the table, in Markdown."""
    by_test: dict[str, list[pytest.TestReport]] = defaultdict(list)
    for report in reports:
        by_test[report.nodeid].append(report)
    rows: dict[tuple[str, str], Row] = defaultdict(Row)
    for test in by_test.values():
        known: dict[str, Any] = {
            name: value for report in test for name, value in report.user_properties
        }
        if ROW not in known:
            continue
        number, words = known[ROW]
        row = rows[number, words]
        row.seconds += sum(report.duration for report in test)
        row.held |= set(known.get(HELD, []))
        if any(report.failed for report in test):
            row.failed += 1
        else:
            row.passed += 1
    lines = [f"| {number} | {words} | {row} |" for (number, words), row in sorted(rows.items())]
    return ["| row | what is broken | tests | held | time |", "|---|---|---|---|---|", *lines]

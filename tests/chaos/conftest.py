"""A system with quick leases, and a client that writes down what it was promised."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.client import Client
from tests.chaos.table import HELD, note_row, table
from tests.fixtures.system import System

LEASE_SECONDS = 3.0
"""Of the processor. Long against a stall of a busy machine, short enough to wait for.

Nobody renews the lease of a batch of light jobs: its half must hold the start of a child.
"""

VARIABLES = {
    "processor": {
        "PROCESSOR_LEASE_SECONDS": str(LEASE_SECONDS),
        "PROCESSOR_HEARTBEAT_SECONDS": "0.4",
        "PROCESSOR_POLL_SECONDS": "0.5",
        "PROCESSOR_SLOTS": "3",
        "PROCESSOR_WORKERS": "1",
        "PROCESSOR_DRAIN_SECONDS": "5",
    },
    "notifier": {
        "NOTIFIER_LEASE_SECONDS": "4",
        "NOTIFIER_RECONCILE_SECONDS": "1",
        "NOTIFIER_RETRY_SECONDS": "[0.5, 0.5, 1, 2, 4, 8]",
    },
}


@pytest.fixture
def client(idle_system: System, record_property: Callable[[str, object], None]) -> Client:
    """A client of a system of this test's own, of which nothing runs yet."""
    for service, variables in VARIABLES.items():
        idle_system.variables[service] = dict(variables)
    known = Client(idle_system)
    record_property(HELD, known.ledger.held)  # the list itself: `check` adds to it
    return known


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note each test's row."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            note_row(item)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
    ]
    lines = table(iter(reports))
    if len(lines) > 2:
        terminalreporter.section("the chaos table")
        terminalreporter.write_line("\n".join(lines))

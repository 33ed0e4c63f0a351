"""A system with quick leases, and a client that writes down what it was promised."""

import pytest

from tests.chaos.client import Client
from tests.fixtures.system import System

LEASE_SECONDS = 2.0
"""Of the processor. Long against a stall of a busy machine, short enough to wait for."""

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
def client(idle_system: System) -> Client:
    """A client of a system of this test's own, of which nothing runs yet."""
    for service, variables in VARIABLES.items():
        idle_system.variables[service] = dict(variables)
    return Client(idle_system)

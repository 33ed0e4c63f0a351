"""A job as it is shown: what its row says, and what it says no more."""

from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest

from services.gateway.models.jobs import Job
from shared.db import Row

ERROR = {"code": "worker_lost", "title": "t", "detail": "d", "remedy": "r"}


def row(state: str) -> Row:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": uuid4(), "kind": "demo.print", "state": state, "attempt": 2, "params": {}, "priority": 0,
        "error": ERROR, "progress": None, "depth": 0, "has_children": False,
        "created_at": now, "available_at": now, "start_by": now,
    }  # fmt: skip
    return cast("Row", values)


@pytest.mark.parametrize("state", ["queued", "running", "failed"])
def test_a_job_shows_the_error_of_its_latest_failure(state: str) -> None:
    shown = Job.of(row(state)).error
    assert shown is not None
    assert shown.code == "worker_lost"


def test_a_cancelled_job_shows_no_error_of_an_attempt_before() -> None:
    assert Job.of(row("cancelled")).error is None

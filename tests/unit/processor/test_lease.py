"""A lease: renewed, lost, or told of a cancel."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from services.processor.lease import CancelRequested, Latest, Lease, LeaseLost, OutOfTime
from shared.errors import DatabaseUnavailable


class Answers:
    """What the database says to each beat, in order; the last answer stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.beats: list[Any] = []

    async def row(self, name: str, *arguments: Any) -> Any:
        self.beats.append((name, *arguments))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


GOING_ON = {"cancel_requested": False, "out_of_time": False}
OVER = {"cancel_requested": False, "out_of_time": True}


async def test_no_row_means_that_the_lease_is_lost() -> None:
    database = Answers(GOING_ON, GOING_ON, None)
    with pytest.raises(LeaseLost):
        await Lease(database, uuid4(), 1, every=0.01, lasts=1).keep()
    assert len(database.beats) == 3


async def test_a_database_that_is_away_is_no_lost_lease() -> None:
    database = Answers(DatabaseUnavailable("away"), DatabaseUnavailable("away"), None)
    with pytest.raises(LeaseLost):
        await Lease(database, uuid4(), 1, every=0.01, lasts=1).keep()
    assert len(database.beats) == 3


async def test_a_cancel_is_learnt_of_by_the_next_beat() -> None:
    with pytest.raises(CancelRequested):
        await Lease(
            Answers(GOING_ON, {"cancel_requested": True}), uuid4(), 1, every=0.01, lasts=1
        ).keep()


async def test_the_end_of_the_time_in_all_is_learnt_of_by_the_next_beat() -> None:
    with pytest.raises(OutOfTime):
        await Lease(Answers(GOING_ON, OVER), uuid4(), 1, every=0.01, lasts=1).keep()


async def test_a_cancel_goes_before_the_end_of_the_time_in_all() -> None:
    both = Answers({"cancel_requested": True, "out_of_time": True})
    with pytest.raises(CancelRequested):
        await Lease(both, uuid4(), 1, every=0.01, lasts=1).keep()


async def test_a_poke_beats_at_once() -> None:
    lease = Lease(Answers({"cancel_requested": True}), uuid4(), 1, every=60, lasts=1)
    lease.poke()
    async with asyncio.timeout(1):
        with pytest.raises(CancelRequested):
            await lease.keep()


async def test_a_beat_names_the_attempt_and_carries_the_latest_progress() -> None:
    database, job = Answers(None), uuid4()
    lease = Lease(database, job, 7, every=0.01, lasts=15)
    lease.progress.tell({"stage": "building"})
    with pytest.raises(LeaseLost):
        await lease.keep()
    assert database.beats == [("beat", job, 7, 15, {"stage": "building"})]


def test_what_was_left_is_less_when_time_has_passed_and_never_less_than_nothing() -> None:
    now = 100.0
    latest = Latest(lambda: now)
    assert latest.now() is None
    latest.tell({"stage": "build", "eta_seconds": 9.5})
    now += 3
    assert latest.now() == {"stage": "build", "eta_seconds": 6.5}
    now += 30
    assert latest.now() == {"stage": "build", "eta_seconds": 0.0}
    latest.tell({"stage": "build"})
    assert latest.now() == {"stage": "build"}

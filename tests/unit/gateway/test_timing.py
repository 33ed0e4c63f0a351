"""What a client says of the time, what a change makes of it, and which times that means."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway.problems import Problem
from services.gateway.timing import Times, Timing

NOW = datetime(2026, 3, 28, 20, tzinfo=UTC)
LATER = datetime(2026, 4, 1, tzinfo=UTC)
ONCE = Timing(LATER, None, None)
DAILY = Timing(None, "30 2 * * *", "Europe/Zurich")


@pytest.mark.parametrize(
    ("asked", "timing"),
    [
        ({"at": "2026-04-01T02:00:00+02:00"}, ONCE),
        ({"cron": "30 2 * * *", "timezone": "Europe/Zurich"}, DAILY),
        ({"cron": "30 2 * * *"}, Timing(None, "30 2 * * *", "UTC")),
    ],
)
def test_a_time_is_said_in_one_of_two_ways(asked: dict[str, Any], timing: Timing) -> None:
    assert Timing.asked(Times.model_validate(asked)) == timing


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (ONCE, {}, ONCE),
        (DAILY, {}, DAILY),
        (DAILY, {"timezone": "UTC"}, Timing(None, "30 2 * * *", "UTC")),
        (DAILY, {"cron": "0 0 * * *"}, Timing(None, "0 0 * * *", "Europe/Zurich")),
        (DAILY, {"at": LATER}, ONCE),
        (ONCE, {"cron": "0 0 * * *"}, Timing(None, "0 0 * * *", "UTC")),
    ],
)
def test_a_change_leaves_what_it_does_not_name(
    before: Timing, change: dict[str, Any], after: Timing
) -> None:
    assert before.changed(Times.model_validate(change)) == after


@pytest.mark.parametrize(
    ("before", "change", "field"),
    [
        (ONCE, {"timezone": "UTC"}, "cron"),
        (DAILY, {"at": LATER, "timezone": "UTC"}, "timezone"),
        (DAILY, {"at": LATER, "cron": "0 0 * * *"}, "cron"),
    ],
)
def test_a_change_that_says_two_things_is_refused(
    before: Timing, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(Problem) as problem:
        before.changed(Times.model_validate(change))
    assert [named for named, _ in problem.value.errors] == [field]


def test_a_single_time_comes_once() -> None:
    assert ONCE.coming(NOW, 5) == [LATER]
    assert ONCE.coming(LATER, 5) == []
    with pytest.raises(Problem) as problem:
        ONCE.first(LATER)
    assert problem.value.code == "time_passed"


def test_times_are_shown_as_the_clock_does_there() -> None:
    """The night of the 29th has no 2:30, and from then on Zurich is two hours ahead."""
    told = DAILY.local(DAILY.coming(NOW, 2))
    assert [time.isoformat() for time in told] == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]
    assert told[0].utcoffset() == timedelta(hours=2)

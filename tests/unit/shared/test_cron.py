"""When a cron line comes next, in words of the calendar and on the days when the clocks change."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from shared.cron import CronInvalid, TimezoneUnknown, find_timezone, next_run, next_runs

ZURICH = "Europe/Zurich"
# At 01:00 UTC on these days of 2026 the clocks of Zurich go from 2 to 3, and from 3 back to 2.
SPRING = datetime(2026, 3, 29, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, tzinfo=UTC)
NAMED = ["30 2 * * *", "0 2 * * *", "59 2 * * *", "30 1 * * *", "0 3 * * *", "30 2 25,29 3,10 *"]


def told(line: str, day: datetime, timezone: str = ZURICH) -> list[str]:
    """The line's times on a local day of Zurich, as UTC and as the clock there shows them."""
    zone = ZoneInfo(timezone)
    start = day.replace(tzinfo=zone) - timedelta(seconds=1)
    times = next_runs(line, timezone, start, 60)
    return [
        f"{time:%H:%M}Z {time.astimezone(zone):%H:%M}"
        for time in times
        if time.astimezone(zone).date() == day.date()
    ]


def visited(line: str, timezone: str, start: datetime, end: datetime) -> list[datetime]:
    """The times a scheduler meets that asks anew after each run, as it does."""
    times: list[datetime] = []
    time = next_run(line, timezone, start)
    while time < end:
        times.append(time)
        time = next_run(line, timezone, time)
    return times


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 6 * * *", "2026-03-03T05:00:00+00:00"),
        ("0 6 * * MON", "2026-03-09T05:00:00+00:00"),
        ("*/20 * * * *", "2026-03-02T11:20:00+00:00"),
        ("0 0 1 * *", "2026-03-31T22:00:00+00:00"),
        ("0 0 L * *", "2026-03-30T22:00:00+00:00"),
        ("0 12 29 2 *", "2028-02-29T11:00:00+00:00"),
    ],
)
def test_the_next_time_is_read_in_the_time_zone(line: str, expected: str) -> None:
    after = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)
    assert next_run(line, ZURICH, after).isoformat() == expected


def test_the_next_time_is_later_than_the_moment_given() -> None:
    noon = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    assert next_run("0 12 * * *", "UTC", noon - timedelta(microseconds=1)) == noon
    assert next_run("0 12 * * *", "UTC", noon) == noon + timedelta(days=1)


@pytest.mark.parametrize("line", NAMED)
@pytest.mark.parametrize("day", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_a_named_time_runs_once_on_the_days_when_the_clocks_change(
    line: str, day: datetime
) -> None:
    zone = ZoneInfo(ZURICH)
    start = day - timedelta(hours=4)
    times = visited(line, ZURICH, start, day + timedelta(hours=20))
    assert len([time for time in times if time.astimezone(zone).date() == day.date()]) == 1


def test_a_time_that_is_left_out_is_made_up_for_right_after_the_gap() -> None:
    assert told("30 2 * * *", SPRING) == ["01:00Z 03:00"]


def test_of_a_time_that_comes_twice_the_first_counts() -> None:
    assert told("30 2 * * *", AUTUMN) == ["00:30Z 02:30"]


def test_the_second_hour_of_the_same_name_does_not_run_it_again() -> None:
    """A scheduler that was away and asks in the second 2:10 must not be sent back to the first 2:30."""
    second = AUTUMN + timedelta(hours=1, minutes=10)
    assert next_run("30 2 * * *", ZURICH, second) == AUTUMN + timedelta(hours=25, minutes=30)


def test_a_line_with_a_star_goes_by_the_time_that_passes() -> None:
    for day in (SPRING, AUTUMN):
        start, end = day - timedelta(hours=2), day + timedelta(hours=4)
        times = visited("*/30 * * * *", ZURICH, start, end)
        assert {later - time for time, later in pairwise(times)} == {timedelta(minutes=30)}
    assert told("*/30 2 * * *", SPRING) == []
    assert told("*/30 2 * * *", AUTUMN) == [
        "00:00Z 02:00", "00:30Z 02:30", "01:00Z 02:00", "01:30Z 02:30"
    ]  # fmt: skip


@given(
    line=some.builds(
        "{} {} * * *".format,
        some.integers(0, 59) | some.just("*/17"),
        some.integers(0, 23) | some.just("*") | some.just("1-4"),
    ),
    timezone=some.sampled_from([ZURICH, "America/Santiago", "Australia/Lord_Howe", "UTC"]),
    minutes=some.integers(0, 2 * 365 * 24 * 60),
)
@settings(max_examples=200, deadline=None)
def test_times_only_go_forward_from_any_moment(line: str, timezone: str, minutes: int) -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    together = next_runs(line, timezone, after, 5)
    assert after < together[0]
    assert together == sorted(set(together))
    one_by_one = [after]
    for _ in range(5):
        one_by_one.append(next_run(line, timezone, one_by_one[-1]))
    assert one_by_one[1:] == together


@pytest.mark.parametrize(
    "line",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
     "@daily", "a b c d e", "*/0 * * * *", "5-1 * * * *", "0 0 30 2 *", "0 0 */29 2 1#5"],
)  # fmt: skip
def test_a_line_that_says_no_time_is_refused(line: str) -> None:
    with pytest.raises(CronInvalid):
        next_run(line, "UTC", SPRING)


@given(line=some.text(some.sampled_from("0123456789*/-,#LW MON?"), max_size=24))
@settings(max_examples=300, deadline=None)
def test_any_text_is_either_a_line_or_refused(line: str) -> None:
    with suppress(CronInvalid):
        assert next_run(line, ZURICH, SPRING) > SPRING


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "Europe", "europe/zurich", "../etc/passwd", "/etc/localtime", "localtime", "\x00"]
)  # fmt: skip
def test_a_name_that_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(TimezoneUnknown):
        find_timezone(name)

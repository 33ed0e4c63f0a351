"""When a cloud was captured: only what its header and its GPS times really say."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from services.processor.pointcloud.las.instants import captured, file_date
from services.processor.pointcloud.las.source import Source, read_source
from services.processor.pointcloud.observed.ranges import Ranges
from tests.unit.processor.pointcloud.conftest import WriteCloud

STANDARD = 1


@pytest.fixture
def source(write_cloud: WriteCloud) -> Source:
    return replace(read_source(write_cloud()), global_encoding=STANDARD)


def timed(low: float, high: float) -> Ranges:
    ranges = Ranges(())
    ranges.by_name["gps_time"] = (low, high)
    return ranges


@pytest.mark.parametrize(
    ("adjusted", "utc"),
    [
        # The first second of 2017 came after the eighteenth leap second, the one before it did not.
        (1167264018.0 - 1e9, datetime(2017, 1, 1, tzinfo=UTC)),
        (1167264016.0 - 1e9, datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (820108814.0 - 1e9, datetime(2006, 1, 1, tzinfo=UTC)),
        (820108812.0 - 1e9, datetime(2005, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (604_801.0, datetime(2011, 9, 21, 1, 46, 26, tzinfo=UTC)),
    ],
)
def test_standard_time_becomes_utc(source: Source, adjusted: float, utc: datetime) -> None:
    assert captured(source, timed(adjusted, adjusted)) == (utc, utc)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0.0, 0.0),
        (0.0, 604_799.0),
        (float("nan"), 1e8),
        (1e300, 1e301),
        (-1e9, 1e8),
        (3e9, 3e9),
    ],
    ids=["nothing", "seconds of a week", "nan", "enormous", "before any lidar", "after our time"],
)
def test_times_that_cannot_be_dates_are_none(source: Source, low: float, high: float) -> None:
    assert captured(source, timed(low, high)) is None


def test_seconds_of_a_week_and_formats_without_time_say_no_date(source: Source) -> None:
    week = replace(source, global_encoding=0)
    untimed = replace(source, point_format=2)
    assert captured(week, timed(3e8, 3e8)) is None
    assert captured(untimed, timed(3e8, 3e8)) is None


@pytest.mark.parametrize(
    ("year", "day", "found"),
    [
        (2024, 60, date(2024, 2, 29)),
        (2023, 366, None),
        (2024, 366, date(2024, 12, 31)),
        (0, 0, None),
        (2024, 0, None),
        (9999, 1, None),
    ],
)
def test_the_date_of_the_file_is_one_of_the_calendar(
    source: Source, year: int, day: int, found: date | None
) -> None:
    assert file_date(replace(source, creation_year=year, creation_day=day)) == found

"""When a cloud was captured, as far as its header and GPS times tell.

Only adjusted standard GPS time (global encoding bit 0) says the date: seconds since 1980-01-06
less a billion. Seconds of a week, the other way, leave the week open. GPS time runs ahead of UTC by
the leap seconds since 1980.
"""

import math
from datetime import UTC, date, datetime, timedelta

from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.observed.ranges import Ranges

_STANDARD_TIME_BIT = 1
_UNTIMED = frozenset({0, 2})
_EPOCH = datetime(1980, 1, 6, tzinfo=UTC)
_ADJUSTMENT = 1_000_000_000.0
_LEAP_DAYS = (
    (1981, 7), (1982, 7), (1983, 7), (1985, 7), (1988, 1), (1990, 1), (1991, 1), (1992, 7),
    (1993, 7), (1994, 7), (1996, 1), (1997, 7), (1999, 1), (2006, 1), (2009, 1), (2012, 7),
    (2015, 7), (2017, 1),
)  # fmt: skip
"""Years and months before whose first day a second was put in (IERS Bulletin C, up to number 72)."""

_WEEK = 604_800.0
"""Times within it are seconds of a week, said to be standard ones: a week of 2011 hardly was meant."""

_EARLIEST, _LATEST = datetime(1985, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""No lidar is older; a time outside is one of another kind, said to be a standard one."""


def gps_time_is_standard(source: Source) -> bool:
    """Whether the header says that the GPS times tell the date."""
    return bool(source.global_encoding & _STANDARD_TIME_BIT)


def file_date(source: Source) -> date | None:
    """The date in the header; None if it is none."""
    year, day = source.creation_year, source.creation_day
    if not (1970 <= year <= 2100 and 1 <= day <= 366):
        return None
    found = date(year, 1, 1) + timedelta(days=day - 1)
    return found if found.year == year else None


def captured(source: Source, ranges: Ranges) -> tuple[datetime, datetime] | None:
    """UTC of the first and the last point; None where the GPS times do not tell it."""
    if source.point_format in _UNTIMED or not gps_time_is_standard(source):
        return None
    low, high = ranges.by_name.get("gps_time", (math.nan, math.nan))
    if not (math.isfinite(low) and math.isfinite(high)) or 0 <= low <= high <= _WEEK:
        return None
    try:
        first, last = _utc(low), _utc(high)
    except OverflowError:
        return None
    return (first, last) if first >= _EARLIEST and last <= _LATEST else None


def _utc(adjusted: float) -> datetime:
    gps = _EPOCH + timedelta(seconds=adjusted + _ADJUSTMENT)
    leaps = sum(
        datetime(year, month, 1, tzinfo=UTC) + timedelta(seconds=number) <= gps
        for number, (year, month) in enumerate(_LEAP_DAYS, 1)
    )
    return gps - timedelta(seconds=leaps)

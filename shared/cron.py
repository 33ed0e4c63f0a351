"""When a cron line in a time zone comes next. Pure: the caller says what time it is.

A line has five fields (minute, hour, day of month, month, day of week) and means what it means to
Debian's cron, on the two days a year when the clocks change as well:

- A line whose minute and hour are both named (`30 2 * * *`) runs once on each of its days. A time
  that the clocks leave out is made up for right after the gap; of a time that comes twice, the first
  counts.
- A line whose minute or hour begins with `*` (`*/15 * * * *`) goes by the time that passes: nothing
  in the hour that is left out, the same in both hours of the same name.
"""

from datetime import UTC, datetime
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from shared.errors import PointmillError

FIELDS = 5
# What a machine calls its own time, and what stands for having no time zone.
NO_PLACE = frozenset({"localtime", "Factory"})


class CronInvalid(PointmillError):
    """The cron line cannot be read, or no day on the calendar fits it."""

    code = "invalid_cron"
    title = "The cron line does not say when"
    remedy = "Give minute, hour, day of month, month and day of week, such as `30 6 * * MON-FRI`."


class TimezoneUnknown(PointmillError):
    """There is no time zone of this name."""

    code = "unknown_timezone"
    title = "There is no such time zone"
    remedy = "Give a name of the IANA time zone database, such as `Europe/Zurich`."


def next_run(line: str, timezone: str, after: datetime) -> datetime:
    """The first time of the line later than `after`, in UTC.

    Raises:
        CronInvalid: the line cannot be read, or never comes.
        TimezoneUnknown: there is no such time zone.
    """
    return next_runs(line, timezone, after, 1)[0]


def next_runs(line: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """The next times of the line later than `after`, in UTC, the earliest first.

    Raises:
        CronInvalid: the line cannot be read, or never comes.
        TimezoneUnknown: there is no such time zone.
    """
    zone = find_timezone(timezone)
    if len(line.split()) != FIELDS:
        raise CronInvalid(f"`{line}` has {len(line.split())} fields, not five.")
    try:
        times = (time.astimezone(UTC) for time in CronSim(line, after.astimezone(zone)))
        # In the second of two hours of the same name, cronsim begins with the first.
        found = list(islice((time for time in times if time > after), count))
    except CronSimError as error:
        raise CronInvalid(f"`{line}` cannot be read: {str(error).lower()}.") from error
    if not found:
        raise CronInvalid(f"`{line}` never comes.")
    return found


def find_timezone(name: str) -> ZoneInfo:
    """The time zone of this name.

    Raises:
        TimezoneUnknown: there is none.
    """
    if name not in _known_timezones():
        raise TimezoneUnknown(f"{name} is not a time zone.")
    return ZoneInfo(name)


@cache
def _known_timezones() -> frozenset[str]:
    return frozenset(available_timezones()) - NO_PLACE

"""When a schedule's job is to be ordered: what a client says of it, and the times it means."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from services.gateway.fields import Order
from services.gateway.problems import (
    INVALID_CRON,
    INVALID_REQUEST,
    TIME_PASSED,
    UNKNOWN_TIMEZONE,
    Problem,
)
from shared.cron import CronInvalid, TimezoneUnknown, next_runs
from shared.db import Row

# What may refuse a time.
PROBLEMS = (INVALID_CRON, UNKNOWN_TIMEZONE, TIME_PASSED)


def _within_the_calendar(moment: datetime) -> datetime:
    """Python and Postgres must be able to say it in any time zone."""
    if not 1970 <= moment.year <= 9998:
        raise ValueError("must be in a year from 1970 to 9998")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_within_the_calendar)]
CronLine = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, pattern=r"^[\x20-\x7e]*$"),
    Field(
        description="Minute, hour, day of month, month, day of week.", examples=["30 6 * * MON-FRI"]
    ),
]
ZoneName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]*$"),
    Field(description="Where the cron line is read; UTC by default.", examples=["Europe/Zurich"]),
]


class Times(Order):
    """When: `at` for once, `cron` for again and again."""

    at: Moment | None = None
    cron: CronLine | None = None
    timezone: ZoneName | None = None


@dataclass(frozen=True)
class Timing:
    """Once, at a time; or by a cron line in a time zone."""

    at: datetime | None
    cron: str | None
    timezone: str | None

    @classmethod
    def of(cls, row: Row) -> Self:
        """The timing of a row of `schedules`."""
        return cls(row["run_at"], row["cron"], row["timezone"])

    @classmethod
    def asked(cls, times: Times) -> Self:
        """What a client says; a Problem unless it is one of the two, and all of it."""
        if times.at is not None and times.cron is not None:
            raise Problem.of_field(INVALID_REQUEST, "cron", "cannot stand beside at")
        if times.at is not None:
            if times.timezone is not None:
                raise Problem.of_field(INVALID_REQUEST, "timezone", "belongs to cron, not to at")
            return cls(times.at, None, None)
        if times.cron is None:
            raise Problem.of_field(INVALID_REQUEST, "cron", "is required, or at")
        return cls(None, times.cron, times.timezone or "UTC")

    def changed(self, times: Times) -> Self:
        """This timing with what a client wants changed."""
        if times.at is None:
            cron = times.cron or self.cron
            timezone = times.timezone or self.timezone
            if cron is not None or times.timezone is not None:
                times = Times(at=None, cron=cron, timezone=timezone)
            else:
                times = Times(at=self.at)
        return self.asked(times)

    def coming(self, now: datetime, count: int) -> list[datetime]:
        """The next times in UTC, at most so many; none where the only one has passed."""
        if self.cron is None or self.timezone is None:
            return [self.at] if self.at is not None and self.at > now else []
        try:
            return next_runs(self.cron, self.timezone, now, count)
        except CronInvalid as error:
            raise Problem.of_field(INVALID_CRON, "cron", error.detail.rstrip(".")) from error
        except TimezoneUnknown as error:
            raise Problem.of_field(
                UNKNOWN_TIMEZONE, "timezone", error.detail.rstrip(".")
            ) from error

    def first(self, now: datetime) -> datetime:
        """The next time in UTC, or a Problem when there is none."""
        times = self.coming(now, 1)
        if not times:
            raise Problem.of_field(TIME_PASSED, "at", f"is not later than {now.isoformat()}")
        return times[0]

    def local(self, times: list[datetime]) -> list[datetime]:
        """The times as the clock shows them in the time zone."""
        return [time.astimezone(ZoneInfo(self.timezone or "UTC")) for time in times]

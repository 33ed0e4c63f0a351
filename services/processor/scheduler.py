"""Orders the jobs whose time has come. Every processor does; a row's lock gives each time to one.

A planned time stands in its schedule's row (`next_at`). Whoever finds it due works out the time after
it, here because a library reads the cron line, and hands both to `run_schedule`, which orders the job
and moves the row on in one transaction. The job's id is derived from schedule and planned time, so a
COMMIT whose answer was lost is simply tried again. Only the database's clock counts.
"""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid5

import asyncpg
import structlog

from services.processor.metrics import SCHEDULES_RUN
from services.processor.resources import Processor
from shared.cron import CronInvalid, TimezoneUnknown, next_run
from shared.db import Row
from shared.errors import DatabaseUnavailable, PointmillError

LOOK_SECONDS = 1.0
# Somebody else has the rows just now: the schedule is still due at the next look.
BUSY = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
STILL_DUE = frozenset({"busy", "error"})

logger = structlog.get_logger()


class JobRefused(PointmillError):
    """The database takes no such job."""

    code = "job_refused"
    title = "No job could be made of the schedule"
    remedy = "Mend the schedule and resume it, or delete it."


def job_id_of(schedule: UUID, planned: datetime) -> UUID:
    """The job of a planned time: the same however often, and by whomever, it is ordered."""
    return uuid5(schedule, planned.astimezone(UTC).isoformat())


async def schedule(processor: Processor) -> None:
    """Look once a second for what is due, for ever."""
    while True:
        try:
            await run_due(processor)
        except DatabaseUnavailable as error:
            logger.warning("scheduler_waits", detail=error.detail)
        await asyncio.sleep(LOOK_SECONDS)


async def run_due(processor: Processor) -> int:
    """Run every schedule that is due now; how many planned times came."""
    left: list[UUID] = []
    count = 0
    while (run := await _run_next(processor, left)) is not None:
        schedule_id, outcome = run
        if outcome in STILL_DUE:
            left.append(schedule_id)
        count += 1
    if count:
        processor.relay.wake()
    return count


async def _run_next(processor: Processor, left: list[UUID]) -> tuple[UUID, str] | None:
    """Run the next that is due, apart from those left for later; which, and what became of it.

    Each has a transaction of its own: what goes wrong with one must not hold up the others.
    """
    row: Row | None = None
    try:
        async with processor.database.transaction() as transaction:
            row = await transaction.row("take_due_schedule", left)
            if row is None:
                return None
            planned = row["next_at"]
            outcome = await transaction.value(
                "run_schedule", row["id"], planned, job_id_of(row["id"], planned), _time_after(row)
            )
            await processor.failpoints.reach("processor.schedule.ordered")
        await processor.failpoints.reach("processor.schedule.committed")
    except BUSY:
        outcome = "busy"
    except (CronInvalid, TimezoneUnknown) as error:
        outcome = await _refuse(processor, row, error)
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
        outcome = await _refuse(processor, row, JobRefused(f"PostgreSQL says: {error}."))
    except asyncpg.PostgresError:
        # A statement is wrong, which is no fault of the schedule: it stays due.
        outcome = "error"
        logger.exception("schedule_error")
    if row is None:
        return None
    SCHEDULES_RUN.labels(outcome).inc()
    logger.info("schedule_run", schedule=str(row["id"]), planned=str(planned), outcome=outcome)
    return row["id"], outcome


def _time_after(row: Row) -> datetime | None:
    """The next time after now: those that passed while nobody looked are one with the planned one."""
    if row["cron"] is None:
        return None
    return next_run(row["cron"], row["timezone"], row["now"])


async def _refuse(processor: Processor, row: Row | None, error: PointmillError) -> str:
    if row is not None:
        await processor.database.value(
            "refuse_schedule", row["id"], row["next_at"], error.to_dict()
        )
    return "refused"

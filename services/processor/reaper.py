"""What nobody else ends: jobs of silent workers, jobs that never started or wait in vain, objects no row names."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from services.processor.metrics import JOBS_REAPED, OBJECTS_COLLECTED
from services.processor.resources import Processor
from shared.errors import DatabaseUnavailable, StorageUnavailable

BATCH = 100
REAP_SECONDS = 1.0
SETTLE_SECONDS = 10.0
COLLECT_SECONDS = 600.0
NAMES_AT_ONCE = 500

logger = structlog.get_logger()


async def reap(processor: Processor) -> None:
    """End or retry what is overdue, for ever; any number of processors may do so at once.

    After each (re)connection to the database one lease passes first: workers could not renew
    while it was away, and a pause of the database must not requeue their jobs.
    """
    while True:
        await asyncio.sleep(processor.settings.lease_seconds)
        try:
            while True:
                await _reap_once(processor)
                await asyncio.sleep(REAP_SECONDS)
        except DatabaseUnavailable as error:
            logger.warning("reaper_waits", detail=error.detail)


async def _reap_once(processor: Processor) -> None:
    lost = await processor.database.value("reap_lost_jobs", BATCH)
    overdue = await processor.database.value("fail_overdue_jobs", BATCH)
    if lost or overdue:
        JOBS_REAPED.inc(lost)
        logger.warning("jobs_reaped", lost=lost, overdue=overdue)
        processor.relay.wake()


async def settle(processor: Processor) -> None:
    """Release or fail the jobs that nothing keeps waiting, for ever; any number of processors may do so.

    The end of a parent does it for its children. Left is what was changed by hand, and what was too
    much for one transaction.
    """
    while True:
        settled = 0
        try:
            settled = await processor.database.value("settle_waiting_jobs", BATCH)
        except DatabaseUnavailable as error:
            logger.warning("settler_waits", detail=error.detail)
        if settled:
            logger.info("waiting_jobs_settled", count=settled)
            processor.relay.wake()
        await asyncio.sleep(0 if settled == BATCH else SETTLE_SECONDS)


async def collect(processor: Processor) -> None:
    """Delete what killed uploads and lost attempts left in the store, and rows past their use, for ever."""
    while True:
        try:
            await collect_once(processor)
            await processor.database.value("forget_old_keys")
            await processor.database.value("forget_old_messages")
            await processor.database.value("forget_dead_letters")
        except (DatabaseUnavailable, StorageUnavailable) as error:
            logger.warning("collector_waits", code=error.code, detail=error.detail)
        await asyncio.sleep(COLLECT_SECONDS)


async def collect_once(processor: Processor) -> int:
    """Delete the objects that are older than the horizon and that no row names; how many.

    The horizon is far longer than the time between storing an object and committing its row.
    """
    horizon = datetime.now(UTC) - timedelta(hours=processor.settings.orphan_hours)
    await processor.objects.collect_unfinished(processor.settings.orphan_hours * 3600)
    old: list[str] = []
    deleted = 0
    async for info in processor.objects.list(""):
        if info.updated_at < horizon:
            old.append(info.key)
        if len(old) >= NAMES_AT_ONCE:
            deleted += await _delete_unnamed(processor, old)
            old = []
    return deleted + await _delete_unnamed(processor, old)


async def _delete_unnamed(processor: Processor, keys: list[str]) -> int:
    if not keys:
        return 0
    rows = await processor.database.rows("unnamed_objects", keys)
    for row in rows:
        await processor.objects.delete(row["key"])
        logger.info("object_collected", key=row["key"])
    OBJECTS_COLLECTED.inc(len(rows))
    return len(rows)

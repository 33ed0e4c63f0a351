"""Say which kinds exist, and that this process lives."""

import asyncio

import structlog

from services.processor.resources import Processor
from shared.errors import DatabaseUnavailable
from shared.messages.jobs import JobRequestedV1
from shared.messages.work import CancelAskedV1, WorkAvailableV1
from shared.process import service_version

BEAT_SECONDS = 10.0
ACCEPTS = [message.TYPE for message in (JobRequestedV1, WorkAvailableV1, CancelAskedV1)]

logger = structlog.get_logger()


async def register(processor: Processor) -> None:
    """Write the kinds, then a heartbeat every ten seconds, for ever."""
    registered = False
    while True:
        try:
            if not registered:
                await register_kinds(processor)
                registered = True
            await _beat(processor)
        except DatabaseUnavailable as error:
            logger.warning("registrar_waits", detail=error.detail)
            await asyncio.sleep(1)
            continue
        await asyncio.sleep(BEAT_SECONDS)


async def register_kinds(processor: Processor) -> None:
    """Write every kind this processor knows into the `kinds` table; gateways validate against it."""
    rows = [
        (
            task.kind,
            task.title,
            task.description,
            task.params.model_json_schema(),
            task.result.model_json_schema(mode="serialization"),
            task.pool,
            task.needs_source,
            task.limits.attempts,
            task.limits.backoff_seconds,
            task.limits.run_seconds,
            task.limits.start_seconds,
            task.limits.total_seconds,
            sorted(task.limits.retry_codes),
            sorted(task.limits.no_retry_codes),
            task.needs.cores,
            task.needs.memory_bytes,
            task.version,
            list(task.inputs),
        )
        for task in processor.tasks.values()
    ]
    await processor.database.run_many("register_kind", rows)
    logger.info("kinds_registered", kinds=sorted(processor.tasks))


async def _beat(processor: Processor) -> None:
    await processor.database.value(
        "register_instance",
        processor.instance,
        service_version(),
        ACCEPTS,
        sorted(processor.tasks),
        processor.settings.workers,
        processor.settings.memory,
    )
    await processor.database.value("forget_silent_instances")


async def leave(processor: Processor) -> None:
    """Say that this process is leaving."""
    try:
        await processor.database.value("forget_instance", processor.instance)
    except DatabaseUnavailable as error:
        logger.warning("leave_not_stored", detail=error.detail)

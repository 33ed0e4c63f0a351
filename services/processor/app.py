"""Open what the processor needs, start what must run, leave in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from services.processor import (
    catalogue,
    dead_letters,
    intake,
    light,
    reaper,
    registrar,
    sandbox,
    scheduler,
    worker,
)
from services.processor.forks import Forks
from services.processor.metrics import OUTBOX_RELAYED, SANDBOX_LEVEL
from services.processor.resources import Processor
from services.processor.scratch import own_scratch
from services.processor.settings import Settings
from shared.bus import Bus
from shared.db import open_database
from shared.failpoints import Failpoints
from shared.health import Health, serve_health
from shared.objects import open_store
from shared.outbox import Relay
from shared.process import Supervisor, instance_name, service_version
from shared.replays import replay
from shared.topology import CONTROL, DEAD_QUEUES, EVENTS, INTAKE, LIGHT, POOLS, PROGRESS, WORK

logger = structlog.get_logger()


@asynccontextmanager
async def open_processor(settings: Settings) -> AsyncIterator[Processor]:
    """Everything the processor holds; closed in reverse order."""
    instance = instance_name("processor")
    failpoints = Failpoints.from_environment()
    async with AsyncExitStack() as stack:
        database = await open_database(
            settings.database_url.get_secret_value(),
            "processor",
            size=settings.slots + settings.light_slots + 6,
        )
        stack.push_async_callback(database.close)
        objects = await open_store(settings.storage_url)
        stack.push_async_callback(objects.close)
        bus = Bus(
            settings.amqp_url.get_secret_value(),
            service="processor",
            instance=instance,
            version=service_version(),
            exchanges=(WORK, EVENTS, PROGRESS),
        )
        stack.push_async_callback(bus.close)
        forks = Forks()
        stack.push_async_callback(forks.close)
        supervisor = Supervisor()
        stack.push_async_callback(supervisor.stop)
        yield Processor(
            settings=settings,
            instance=instance,
            tasks=catalogue.load_tasks(),
            database=database,
            bus=bus,
            objects=objects,
            relay=Relay(database, bus.publisher, failpoints, "processor", OUTBOX_RELAYED),
            failpoints=failpoints,
            forks=forks,
            supervisor=supervisor,
        )


async def serve(settings: Settings) -> None:
    """Run until SIGTERM.

    Raises:
        BackgroundTaskEnded: something that must run has ended.
        OSError: the sandbox is too weak, the health port is taken, or there is no scratch folder.
    """
    check_sandbox(settings.sandbox_required, sandbox.probe())
    instance = instance_name("slots")
    with own_scratch(settings.scratch, instance) as scratch:
        async with open_processor(settings) as processor:
            health = Health(
                {
                    "database": processor.database.check,
                    "broker": processor.bus.check,
                    "storage": processor.objects.check,
                }
            )
            runner = await serve_health(health, settings.host, settings.port)
            slots = start(processor, scratch)
            logger.info(
                "started",
                instance=processor.instance,
                slots=settings.slots,
                workers=settings.workers,
            )
            try:
                await processor.supervisor.run_until_stopped()
                health.draining = True
                await drain(slots, settings.drain_seconds)
            finally:
                await registrar.leave(processor)
                await runner.cleanup()


def check_sandbox(required: sandbox.Level, kernel: sandbox.Kernel) -> None:
    """Say which sandbox the attempts will have.

    Raises:
        OSError: it is less than required.
    """
    logger.info(
        "sandbox_probed",
        offered=kernel.level,
        required=required,
        landlock=kernel.landlock,
        lacks=kernel.lacks or None,
    )
    for level in sandbox.LEVELS:
        SANDBOX_LEVEL.labels(level).set(level == kernel.level)
    try:
        sandbox.require(required, kernel)
    except sandbox.SandboxTooWeak as error:
        raise OSError(f"{error.detail} {error.remedy}") from error


def start(processor: Processor, scratch: Path) -> list["asyncio.Task[None]"]:
    """Start everything that runs in the background; the slots are returned."""
    begin = processor.supervisor.start
    for name, loop in processor.bus.loops().items():
        begin(name, loop)
    begin("relay", processor.relay.run())
    begin("registrar", registrar.register(processor))
    begin("reaper", reaper.reap(processor))
    begin("settler", reaper.settle(processor))
    begin("scheduler", scheduler.schedule(processor))
    begin("collector", reaper.collect(processor))
    begin("intake", processor.bus.consumer.consume(INTAKE, partial(intake.take_request, processor)))
    for queue in DEAD_QUEUES:
        keep = partial(dead_letters.keep, processor)
        begin(f"dead letters {queue}", processor.bus.consumer.keep(queue, keep))
    begin("replays", replay(processor.database, partial(dead_letters.replay_request, processor)))
    begin(
        "control",
        processor.bus.consumer.listen(
            "processor.control",
            [(CONTROL, "")],
            partial(worker.look_for_cancels, processor),
            partial(worker.look_at_all, processor),
        ),
    )
    return [
        begin(f"slot {pool} {number}", keep_busy(processor, pool, scratch))
        for pool in POOLS
        for keep_busy, slots in [
            (light.keep_slot_busy, processor.settings.light_slots)
            if pool == LIGHT
            else (worker.keep_slot_busy, processor.settings.slots)
        ]
        for number in range(slots)
    ]


async def drain(slots: list["asyncio.Task[None]"], seconds: float) -> None:
    """Let running jobs end within the grace; what is left is cancelled and gives its job back."""
    _, late = await asyncio.wait(slots, timeout=seconds)
    if late:
        logger.info("drain_is_over", slots=len(late))
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=10)

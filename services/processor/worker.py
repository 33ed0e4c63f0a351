"""Slots: ring, claim, run, finish. The road of a job through the processor, top to bottom."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import structlog

from services.processor.attempt import Done, remove_folder, run_attempt
from services.processor.lease import CancelRequested, Lease, LeaseLost, OutOfTime
from services.processor.metrics import JOB_SECONDS, JOBS_ENDED, JOBS_RUNNING, LEASES_LOST
from services.processor.resources import Processor
from services.processor.runner import LogTail
from shared.bus import Delivery
from shared.db import Row
from shared.errors import DatabaseUnavailable, PointmillError
from shared.messages.work import CancelAskedV1
from shared.topology import work_queue

RETRY_SECONDS = 1.0
T = TypeVar("T")

logger = structlog.get_logger()


async def keep_slot_busy(processor: Processor, pool: str, scratch: Path) -> None:
    """One slot: while there is work it works, else it listens for a doorbell and looks every poll.

    Doorbells only make it faster: a fresh look in SQL decides, and the slot goes on claiming until
    one finds nothing. Returns when the service is stopping.
    """
    kinds = [task.kind for task in processor.tasks.values() if task.pool == pool]
    doorbells = processor.bus.doorbells(work_queue(pool))
    while not processor.supervisor.stopping.is_set():
        if await doorbells.wait(processor.settings.poll_seconds):
            await processor.failpoints.reach("processor.doorbell.received")
        job = await claim(processor, kinds)
        if job is not None:
            logger.info("job_claimed", job=str(job["id"]), kind=job["kind"], attempt=job["attempt"])
            await processor.failpoints.reach("processor.job.claimed")
        async with asyncio.TaskGroup() as group:
            # Beside the work: while the broker is silent nobody would renew the claimed job's lease.
            group.create_task(doorbells.answer(more_slots=job is None))
            while job is not None:
                await run_job(processor, job, scratch)
                job = await claim(processor, kinds)
    await doorbells.close()


async def claim(processor: Processor, kinds: list[str]) -> Row | None:
    """The next job for this slot; None when nothing is eligible or the service is stopping.

    The token makes an ambiguous COMMIT harmless: asked again with it, the database hands out the
    job that was claimed, instead of a second one.
    """
    token = uuid4()
    while not processor.supervisor.stopping.is_set():
        try:
            return await processor.database.row(
                "claim_job",
                processor.instance,
                kinds,
                processor.settings.lease_seconds,
                token,
                processor.settings.workers,
                processor.settings.memory,
            )
        except DatabaseUnavailable as error:
            logger.warning("claim_waits", detail=error.detail)
            await asyncio.sleep(RETRY_SECONDS)
    return None


async def run_job(processor: Processor, job: Row, scratch: Path) -> None:
    """Run one claimed job to the end of its attempt, whatever that end is."""
    processor.relay.wake()
    start, log = time.monotonic(), LogTail()
    folder = scratch / f"{job['id']}-{job['attempt']}"
    with structlog.contextvars.bound_contextvars(
        job=str(job["id"]), kind=job["kind"], attempt=job["attempt"]
    ):
        logger.info("attempt_started")
        JOBS_RUNNING.inc()
        try:
            folder.mkdir(parents=True)
            outcome = await _run_owned(processor, job, folder, log)
        except asyncio.CancelledError:
            # The service is leaving and the grace is over: give the job back at once.
            await asyncio.shield(release(processor, job))
            raise
        finally:
            JOBS_RUNNING.dec()
            await asyncio.to_thread(remove_folder, folder)
        logger.info("attempt_ended", outcome=outcome, seconds=round(time.monotonic() - start, 3))
        JOBS_ENDED.labels(job["kind"], outcome).inc()
        JOB_SECONDS.labels(job["kind"]).observe(time.monotonic() - start)
        processor.relay.wake()


async def _run_owned(processor: Processor, job: Row, folder: Path, log: LogTail) -> str:
    """Work while the lease is ours; then say how it ended. The lease is kept until that is said."""
    settings = processor.settings
    lease = Lease(
        processor.database,
        job["id"],
        job["attempt"],
        every=settings.heartbeat_seconds,
        lasts=settings.lease_seconds,
    )
    processor.running[job["id"]] = lease
    keeping = asyncio.create_task(lease.keep(), name="keep lease")
    working = asyncio.create_task(_work_and_finish(processor, job, folder, log), name="attempt")
    try:
        await asyncio.wait({keeping, working}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        await _stop(working)
        keeping.result()
    except LeaseLost:
        LEASES_LOST.inc()
        return "lost"
    except CancelRequested:
        return await end(processor, job, PointmillError("It was cancelled."), log)
    except OutOfTime:
        return await end(processor, job, TotalTimeLimit("Its attempt was stopped."), log)
    finally:
        del processor.running[job["id"]]
        await _stop(working)
        await _stop(keeping)
    return "lost"


async def _work_and_finish(processor: Processor, job: Row, folder: Path, log: LogTail) -> str:
    try:
        done = await run_attempt(processor, job, folder, log)
    except PointmillError as error:
        return await end(processor, job, error, log)
    except Exception as error:  # this machine's fault or ours: the job goes on, the service too
        logger.exception("attempt_broke")
        return await end(
            processor, job, LocalFault(f"The worker met a {type(error).__name__}."), log
        )
    return await finish(processor, job, done, log)


class LocalFault(PointmillError):
    """This machine could not do it: no space, no process, no file."""

    code = "worker_fault"
    title = "The worker's machine could not do the work"
    remedy = "It is tried again by itself, on another machine if there is one."
    retryable = True


class TotalTimeLimit(PointmillError):
    """The time that the job had in all, retries and waiting included, is over."""

    code = "total_time_limit"
    title = "The job was not done in time"
    remedy = "Retry it when less is going on, or ask the operators for a longer limit of its kind."


async def finish(processor: Processor, job: Row, done: Done, log: LogTail) -> str:
    """Commit the success; only while the attempt owns the job and nobody asked to cancel."""
    finished = await until_answered(
        lambda: processor.database.value(
            "finish_job", job["id"], job["attempt"], done.result, done.products, log.text()
        )
    )
    if finished:
        await processor.failpoints.reach("processor.job.finished")
        return "succeeded"
    row = await until_answered(lambda: processor.database.row("read_ending", job["id"]))
    if row is not None and row["state"] == "succeeded" and row["attempt"] == job["attempt"]:
        return "succeeded"  # the COMMIT whose answer was lost had worked
    return await end(processor, job, PointmillError("It was cancelled at the last moment."), log)


async def end(processor: Processor, job: Row, error: PointmillError, log: LogTail) -> str:
    """Say that the attempt did not succeed; the database decides what becomes of the job."""
    logger.info("attempt_failed", code=error.code, detail=error.detail)
    state: str | None = await until_answered(
        lambda: processor.database.value(
            "fail_job", job["id"], job["attempt"], error.to_dict(), error.retryable, log.text()
        )
    )
    return {"queued": "retried", None: "lost"}.get(state, str(state))


async def release(processor: Processor, job: Row) -> None:
    """Give the job back at once; no failure is counted."""
    try:
        await processor.database.value("release_job", job["id"], job["attempt"])
        logger.info("attempt_released")
    except DatabaseUnavailable as error:
        logger.warning("release_not_stored", detail=error.detail)  # the lease runs out by itself


async def until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the database until it answers. Every such question may be repeated: the fence holds."""
    while True:
        try:
            return await ask()
        except DatabaseUnavailable as error:
            logger.warning("end_waits", detail=error.detail)
            await asyncio.sleep(RETRY_SECONDS)


async def _stop(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait({task})


async def look_for_cancels(processor: Processor, delivery: Delivery) -> None:
    """A cancel was asked for somewhere: if the job runs here, look at its row now."""
    message = delivery.read()
    if isinstance(message, CancelAskedV1) and (lease := processor.running.get(message.job_id)):
        lease.poke()


def look_at_all(processor: Processor) -> None:
    """The control channel was away: what was said meanwhile was not heard."""
    for lease in processor.running.values():
        lease.poke()

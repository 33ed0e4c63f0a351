"""The road of a notice: hear of an ended job, plan whom to tell, tell, mark.

A message is only a hint: what is told is what the rows say, and what no message told is found by
looking. Telling never changes a job.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from services.notifier.channels import email, webhook
from services.notifier.channels.notice import GiveUp, NotDelivered, Notice, RecipientGone, TryAgain
from services.notifier.resources import Notifier
from shared.bus import Delivery
from shared.errors import DatabaseUnavailable
from shared.messages import Unreadable
from shared.messages.jobs import JobCancelledV1, JobFailedV1, JobSucceededV1

CHANNELS: dict[str, Callable[[Notifier, Notice], Awaitable[None]]] = {
    "webhook": webhook.send,
    "email": email.send,
}

ACCEPTS = tuple(message.TYPE for message in (JobSucceededV1, JobFailedV1, JobCancelledV1))

# How far back a notifier that starts looks for ends that nobody has planned. `inbox` keeps its
# rows for longer (the reaper's thirty days), or old ends would be told again.
HORIZON_SECONDS = 7 * 86_400.0
# How much of the time before the last look is looked at again: commits may come late.
OVERLAP_SECONDS = 600.0
BATCH = 200
JITTER = 0.2
MARK_PAUSE_SECONDS = 1.0

logger = structlog.get_logger()


async def hear(notifier: Notifier, delivery: Delivery) -> None:
    """Handle a message that says how a job has ended.

    Raises:
        Unreadable: the message is none this version knows.
        DatabaseUnavailable: nothing is planned yet.
    """
    await notifier.failpoints.reach("notifier.event.received")
    await _plan(notifier, _event_of(delivery), "message")
    await notifier.failpoints.reach("notifier.event.planned")


async def hear_again(notifier: Notifier, delivery: Delivery) -> str:
    """Handle a dead message once more, because operators ask; says what came of it.

    Raises:
        Unreadable: the message is none this version knows.
        DatabaseUnavailable: nothing is planned yet.
    """
    planned = await _plan(notifier, _event_of(delivery), "replay")
    return "planned" if planned else "nothing to do: told already, or no such event"


def _event_of(delivery: Delivery) -> UUID:
    delivery.read()
    try:
        return UUID(delivery.envelope.id)
    except ValueError as error:
        raise Unreadable("invalid_id", "The id of a job's event is a UUID.") from error


async def reconcile(notifier: Notifier) -> None:
    """Look for ends whose message was lost, for ever."""
    looked = time.monotonic() - HORIZON_SECONDS
    while True:
        now = time.monotonic()
        try:
            await plan_untold(notifier, now - looked + OVERLAP_SECONDS)
            looked = now
        except DatabaseUnavailable as error:
            logger.warning("reconciler_waits", code=error.code, detail=error.detail)
        await asyncio.sleep(notifier.settings.reconcile_seconds)


async def plan_untold(notifier: Notifier, horizon: float) -> None:
    """Plan the ends of the last `horizon` seconds that nobody has planned, the oldest first.

    Raises:
        DatabaseUnavailable: some may be left.
    """
    least_age = notifier.settings.reconcile_seconds
    while True:
        untold = await notifier.database.rows("find_untold", least_age, horizon, BATCH)
        for row in untold:
            await _plan(notifier, row["event_id"], "reconciled")
        if len(untold) < BATCH:
            return


async def _plan(notifier: Notifier, event_id: UUID, source: str) -> bool:
    """Plan an event's deliveries; False when they were planned before or there is no such event."""
    planned = bool(await notifier.database.value("plan_deliveries", event_id))
    if planned:
        notifier.metrics.planned.labels(source).inc()
        logger.info("notices_planned", event_id=str(event_id), source=source)
        notifier.due.set()
    return planned


async def deliver(notifier: Notifier, notice: Notice) -> None:
    """One try of a delivery that was claimed: send it, and write down what came of it."""
    await notifier.failpoints.reach("notifier.delivery.claimed")
    started = time.monotonic()
    try:
        failure = await _send(notifier, notice)
    except DatabaseUnavailable as error:
        # Nothing was sent and nothing can be marked: the lease brings it again.
        logger.warning("delivery_waits", delivery_id=str(notice.id), detail=error.detail)
        return
    notifier.metrics.seconds.labels(notice.channel).observe(time.monotonic() - started)
    if failure is None:
        await notifier.failpoints.reach("notifier.delivery.sent")
    await _mark(notifier, notice, failure)


async def _send(notifier: Notifier, notice: Notice) -> NotDelivered | None:
    """Send within half the lease, so that no other try of the same delivery can be under way."""
    seconds = notifier.settings.lease_seconds / 2
    try:
        async with asyncio.timeout(seconds):
            await CHANNELS[notice.channel](notifier, notice)
    except NotDelivered as failure:
        return failure
    except TimeoutError:
        return TryAgain(f"It was not done within {seconds:.0f} s.")
    except DatabaseUnavailable:
        raise
    except Exception:
        # A bug of ours must not look like a delivery, nor take the other deliveries with it.
        logger.exception("channel_failed", channel=notice.channel, delivery_id=str(notice.id))
        return TryAgain("The notifier failed; the operators find the reason in its log.")
    return None


async def _mark(notifier: Notifier, notice: Notice, failure: NotDelivered | None) -> None:
    """Write down what came of a try, as long as this try has the say."""
    outcome, statement, arguments = judge(notice, failure, notifier.settings.retry_seconds)
    logger.info(
        "delivery_tried",
        outcome=outcome,
        delivery_id=str(notice.id),
        event_id=str(notice.event_id),
        channel=notice.channel,
        tries=notice.tries,
        reason=str(failure) if failure else None,
    )
    notifier.metrics.tries.labels(notice.channel, outcome).inc()
    try:
        async with asyncio.timeout(notifier.settings.lease_seconds / 2):
            if isinstance(failure, RecipientGone):
                await _until_done(notifier, "disable_webhook", UUID(notice.recipient), str(failure))
                notifier.metrics.silenced.inc()
            marked = await _until_done(notifier, statement, notice.id, notice.tries, *arguments)
    except TimeoutError:
        logger.warning("delivery_not_marked", delivery_id=str(notice.id))
        return
    if marked is None:
        logger.warning("delivery_overtaken", delivery_id=str(notice.id), tries=notice.tries)


async def _until_done(notifier: Notifier, statement: str, *arguments: object) -> object:
    """Repeat while the database is away: a sent notice that is not marked would be sent again."""
    while True:
        try:
            return await notifier.database.value(statement, *arguments)
        except DatabaseUnavailable as error:
            logger.warning("marking_waits", detail=error.detail)
            await asyncio.sleep(MARK_PAUSE_SECONDS)


def judge(
    notice: Notice, failure: NotDelivered | None, pauses: tuple[float, ...]
) -> tuple[str, str, tuple[object, ...]]:
    """What follows from a try: the outcome, and the statement and its further arguments that mark it."""
    if failure is None:
        return "sent", "mark_sent", ()
    if isinstance(failure, GiveUp) or notice.tries > len(pauses):
        return "failed", "mark_failed", (str(failure),)
    asked = failure.after if isinstance(failure, TryAgain) else 0.0
    pause = pauses[notice.tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter
    return "postponed", "postpone_delivery", (max(pause, asked), str(failure))

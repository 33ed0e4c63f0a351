"""Messages that died on the bus are kept, and those of the intake replayed when operators ask.

A dead doorbell is dropped: every processor looks for work by itself.
"""

import hashlib

import structlog

from services.processor.intake import answer_request, reject_unread
from services.processor.metrics import DEAD_LETTERS
from services.processor.resources import Processor
from shared.bus import Delivery, Letter
from shared.bus.letters import clean
from shared.messages import Unreadable, read_data, read_envelope
from shared.messages.jobs import JobAcceptedV1
from shared.topology import INTAKE, NOTIFIER_EVENTS, REQUESTS, UNROUTED, WORK

logger = structlog.get_logger()


async def keep(processor: Processor, letter: Letter) -> None:
    """Handle one dead message: a row that says where it came from, why it died, and what it said."""
    if letter.exchange == WORK:
        DEAD_LETTERS.labels("doorbell_dropped").inc()
        logger.info("dead_doorbell_dropped", routing_key=letter.routing_key)
        return
    reason, detail = diagnose(letter)
    async with processor.database.transaction() as transaction:
        new = await transaction.value(
            "keep_dead_letter",
            fingerprint(letter),
            "notifier" if letter.queue == NOTIFIER_EVENTS else "processor",
            letter.queue or UNROUTED,
            letter.exchange,
            letter.routing_key,
            letter.user_id,
            reason,
            detail,
            letter.message_id,
            dict(letter.headers),
            letter.kept,
            len(letter.body),
            letter.redelivered,
        )
        # Every request is answered; a delivery that comes again was answered when it was kept.
        if letter.exchange == REQUESTS and letter.user_id and (new or not letter.redelivered):
            await reject_unread(transaction, letter.user_id, letter.message_id, reason, detail)
    processor.relay.wake()
    if new:
        DEAD_LETTERS.labels(reason).inc()
        logger.warning("dead_letter_kept", reason=reason, queue=letter.queue, sender=letter.user_id)


def diagnose(letter: Letter) -> tuple[str, str]:
    """Why the message died: the reader's own reason where it was refused, else the broker's.

    A refusal carries no words over the broker, so the message is read here once more.
    """
    if letter.queue is None:
        return "unrouted", "No queue is bound to its routing key."
    try:
        read_data(read_envelope(letter.body))
    except Unreadable as error:
        return error.reason, clean(str(error))
    if letter.queue == INTAKE and letter.user_id is None:
        return "no_sender", "The property user_id is missing, so nobody can be answered."
    if letter.reason == "delivery_limit":
        return "delivery_limit", "Its handler failed again and again; the service's log says why."
    return letter.reason, "It can be read, and its consumer did not take it."


def fingerprint(letter: Letter) -> bytes:
    """The same for the same message from the same sender through the same place."""
    digest = hashlib.sha256()
    for part in (letter.queue, letter.exchange, letter.routing_key, letter.user_id):
        digest.update(f"{part}\n".encode())
    digest.update(letter.body)
    return digest.digest()


async def replay_request(processor: Processor, delivery: Delivery) -> str:
    """Answer a dead request as if it had just come; says what its sender was told.

    Raises:
        Unreadable: the sender is unknown to the broker.
    """
    answer = await answer_request(processor, delivery)
    if isinstance(answer, JobAcceptedV1):
        return f"accepted: job {answer.job_id}"
    return f"rejected: {answer.code}"

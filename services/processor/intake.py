"""Requests of other internal services: validated, then accepted or rejected, and always answered."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
import structlog
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from services.processor.metrics import REQUESTS
from services.processor.resources import Processor
from shared.bus import Delivery
from shared.db import Transaction
from shared.jobs import slug
from shared.messages import Unreadable, wrap
from shared.messages.jobs import FieldError, JobAcceptedV1, JobRejectedV1, JobRequestedV1
from shared.topology import EVENTS

# An AMQP short string: what an answer carries of the sender's own words must fit one.
SHORT_BYTES = 255
MOST_ERRORS = 50
# What a sender calls a kind may be anything; only this may stand in a routing key.
KIND = re.compile(r"[a-z0-9._]{1,100}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# PostgreSQL's jsonb holds no NUL; an escaped backslash before `u0000` is none.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

logger = structlog.get_logger()


class Rejection(Exception):
    """The request makes no job; the sender is told why."""

    def __init__(self, code: str, *errors: tuple[str, str]) -> None:
        super().__init__(code)
        self.code = code
        self.errors = [FieldError(field=field, message=message) for field, message in errors]


@dataclass(frozen=True)
class Sender:
    """Who asks, as the broker proves it, and what that name may do."""

    user_id: str
    workspace: UUID
    kinds: list[str] | None


def job_id_of(user_id: str, request_id: str) -> UUID:
    """The job of a request: the same for the same sender and id, so that resending is harmless and
    nobody can speak for another.
    """
    return uuid5(NAMESPACE_URL, f"urn:pointmill:request:{user_id}:{request_id}")


async def take_request(processor: Processor, delivery: Delivery) -> None:
    """Handle one message of `pointmill.requests`.

    Raises:
        Unreadable: the sender is unknown to the broker, so there is nobody to answer.
    """
    await answer_request(processor, delivery)


async def answer_request(processor: Processor, delivery: Delivery) -> JobAcceptedV1 | JobRejectedV1:
    """Make the job and the answer in one transaction; what the sender will hear.

    Raises:
        Unreadable: the sender is unknown to the broker, so there is nobody to answer.
    """
    if delivery.user_id is None:
        raise Unreadable("no_sender", "The property user_id is missing.")
    async with processor.database.transaction() as transaction:
        sender = await _find_sender(transaction, delivery.user_id)
        try:
            answer: JobAcceptedV1 | JobRejectedV1 = await _accept(transaction, sender, delivery)
            REQUESTS.labels("accepted").inc()
        except Rejection as rejection:
            answer = JobRejectedV1(
                request_id=_echo(delivery.envelope.id),
                sender=delivery.user_id,
                kind=_kind_asked(delivery),
                code=rejection.code,
                errors=rejection.errors,
            )
            REQUESTS.labels("rejected").inc()
            logger.info("request_rejected", sender=delivery.user_id, code=rejection.code)
        trace = _traceparent(delivery)
        await _answer(transaction, sender, _echo(delivery.envelope.id), trace, answer)
    processor.relay.wake()
    return answer


async def reject_unread(
    transaction: Transaction, user_id: str, request_id: str | None, code: str, detail: str
) -> None:
    """Tell the sender of a request that could not even be read; its id is what AMQP called it."""
    sender = await _find_sender(transaction, user_id)
    name = _echo(request_id or "unknown")
    errors = [FieldError(field="body", message=detail)]
    answer = JobRejectedV1(request_id=name, sender=user_id, code=code, errors=errors)
    await _answer(transaction, sender, name, None, answer)
    REQUESTS.labels("unread").inc()


async def _find_sender(transaction: Transaction, user_id: str) -> Sender | None:
    row = await transaction.row("read_sender", user_id)
    return None if row is None else Sender(user_id, row["workspace_id"], row["kinds"])


async def _accept(
    transaction: Transaction, sender: Sender | None, delivery: Delivery
) -> JobAcceptedV1:
    if sender is None:
        raise Rejection(
            "unknown_sender",
            ("user_id", "No workspace is known for this sender; ask the operators."),
        )
    request = _read(delivery)
    await _check(transaction, sender, request)
    job_id = job_id_of(sender.user_id, delivery.envelope.id)
    await transaction.row(
        "accept_request",
        sender.workspace,
        request.kind,
        request.params,
        request.cloud_id,
        request.priority,
        f"service:{sender.user_id}",
        _traceparent(delivery),
        job_id,
    )
    return JobAcceptedV1(
        request_id=delivery.envelope.id,
        sender=sender.user_id,
        job_id=job_id,
        workspace_id=sender.workspace,
        kind=request.kind,
    )


def _read(delivery: Delivery) -> JobRequestedV1:
    _check_storable(delivery)
    try:
        message = delivery.read()
    except Unreadable as error:
        raise Rejection(error.reason, ("data", str(error))) from error
    if not isinstance(message, JobRequestedV1):
        raise Rejection("unknown_type", ("type", f"Requests are {JobRequestedV1.TYPE}."))
    return message


async def _check(transaction: Transaction, sender: Sender, request: JobRequestedV1) -> None:
    if sender.kinds is not None and request.kind not in sender.kinds:
        raise Rejection(
            "kind_not_allowed", ("data.kind", f"This sender may not ask for {request.kind}.")
        )
    kind = await transaction.row("read_kind", request.kind)
    if kind is None:
        raise Rejection("unknown_kind", ("data.kind", f"There is no kind {request.kind}."))
    problems = [
        (f"data.params{''.join(f'.{part}' for part in error.absolute_path)}", error.message[:300])
        for refused in Draft202012Validator(kind["params_schema"]).iter_errors(request.params)
        # Of several allowed shapes, the one that was meant says best what is wrong.
        for error in [best_match([refused]) or refused]
    ]
    if problems:
        # An answer must fit into a message.
        raise Rejection("invalid_params", *problems[:MOST_ERRORS])
    if request.cloud_id is None:
        if kind["needs_source"]:
            raise Rejection(
                "cloud_missing", ("data.cloud_id", f"{request.kind} works on a cloud; name one.")
            )
    elif await transaction.row("find_cloud", request.cloud_id, sender.workspace) is None:
        raise Rejection(
            "unknown_cloud", ("data.cloud_id", "This workspace has no such cloud with a file.")
        )


def _check_storable(delivery: Delivery) -> None:
    """Refuse what JSON can say and no row can hold, before anything tries to store it."""
    name = delivery.envelope.id
    if name != _echo(name):
        raise Rejection("invalid_id", ("id", f"At most {SHORT_BYTES} bytes, without NUL."))
    try:
        text = orjson.dumps(delivery.envelope.data)
    except TypeError as error:  # a number of more than 64 bits, for one
        raise Rejection("invalid_data", ("data", f"It cannot be stored: {error}.")) from error
    if NUL.search(text):
        raise Rejection("invalid_data", ("data", "It holds a NUL character."))


def _echo(name: str) -> str:
    """The sender's own id as an answer can carry it."""
    return (
        name.replace("\x00", "\ufffd")
        .encode(errors="replace")[:SHORT_BYTES]
        .decode(errors="ignore")
    )


def _traceparent(delivery: Delivery) -> str | None:
    """The sender's trace, if it is one."""
    given = delivery.envelope.traceparent
    return given if given is not None and TRACEPARENT.fullmatch(given) else None


async def _answer(
    transaction: Transaction,
    sender: Sender | None,
    request_id: str,
    traceparent: str | None,
    answer: JobAcceptedV1 | JobRejectedV1,
) -> None:
    workspace = sender.workspace if sender else None
    kind = slug(answer.kind) if answer.kind and KIND.fullmatch(answer.kind) else "unknown"
    what = "accepted" if isinstance(answer, JobAcceptedV1) else "rejected"
    envelope: dict[str, Any] = wrap(
        answer,
        service="processor",
        subject=request_id,
        workspace=workspace,
        correlation=request_id,
        traceparent=traceparent,
    )
    await transaction.value("tell", EVENTS, f"{workspace or 'none'}.job.{kind}.{what}", envelope)


def _kind_asked(delivery: Delivery) -> str | None:
    kind = delivery.envelope.data.get("kind")
    return kind[:100] if isinstance(kind, str) and kind.isprintable() else None

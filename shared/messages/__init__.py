"""Everything that is said on the bus: one class per message version, and the catalogue of them.

A version only ever gains optional fields; anything else is a new class with the next version.
`schemas/` holds the published JSON Schema of each (`python -m shared.messages.publish` writes
them), and the examples once published are kept with the contract tests for ever. Whether today's
schemas break those of the last release is a test (`tests/contract/compatibility.py`; after a release,
`python -m tests.contract.compatibility` publishes the new ones, and refuses what breaks).
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from pydantic import ValidationError

from shared.messages import clouds, jobs, work
from shared.messages.envelope import (
    CONTENT_TYPE,
    Envelope,
    Message,
    Unreadable,
    describe,
    read_envelope,
)

__all__ = [
    "CATALOGUE",
    "CONTENT_TYPE",
    "Envelope",
    "Message",
    "Unreadable",
    "describe",
    "read_data",
    "read_envelope",
    "wrap",
]

CATALOGUE: dict[str, type[Message]] = {
    message.TYPE: message for message in (*jobs.MESSAGES, *clouds.MESSAGES, *work.MESSAGES)
}


def read_data(envelope: Envelope) -> Message:
    """The typed data of an envelope.

    Raises:
        Unreadable: an unknown type or version, or data that is not what the type says.
    """
    message = CATALOGUE.get(envelope.type)
    if message is None:
        name = envelope.type.rpartition(".")[0]
        known = any(kind.rpartition(".")[0] == name for kind in CATALOGUE)
        raise Unreadable("unsupported_version" if known else "unknown_type", envelope.type)
    try:
        return message.model_validate(envelope.data)
    except ValidationError as error:
        raise Unreadable("invalid_data", describe(error)) from error


def wrap(  # noqa: PLR0913 - the attributes of the envelope
    message: Message,
    *,
    service: str,
    subject: str | None = None,
    workspace: UUID | None = None,
    correlation: str | None = None,
    traceparent: str | None = None,
) -> dict[str, Any]:
    """The CloudEvent that carries a message, as plain JSON data."""
    return Envelope(
        id=str(uuid4()),
        source=f"/pointmill/{service}",
        type=message.TYPE,
        subject=subject,
        time=datetime.now(UTC),
        traceparent=traceparent,
        workspaceid=workspace,
        correlationid=correlation,
        data=message.model_dump(mode="json", exclude_none=True),
    ).model_dump(mode="json", exclude_none=True)

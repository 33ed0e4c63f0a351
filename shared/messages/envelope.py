"""The envelope every message travels in: CloudEvents 1.0, structured JSON.

Source: CloudEvents specification 1.0.2, "Context Attributes" and "JSON Event Format"; extension
attributes `traceparent` (distributed tracing) and `sequence` (sequence, as decimal text).
"""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CONTENT_TYPE = "application/cloudevents+json"
MAX_BODY_BYTES = 64 * 1024


class Unreadable(Exception):
    """A message that nobody here can ever read; `reason` is stable, the text is for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


class Message(BaseModel):
    """The `data` of one message version. Unknown fields are ignored: additions break no reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    TYPE: ClassVar[str]


class Envelope(BaseModel):
    """The context attributes that Pointmill uses. Unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, max_length=255)
    source: str = Field(min_length=1, max_length=255)
    type: str = Field(min_length=1, max_length=255)
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: str | None = None
    sequence: str | None = None
    workspaceid: UUID | None = None
    correlationid: str | None = None
    data: dict[str, Any]


def read_envelope(body: bytes) -> Envelope:
    """The envelope of a message body.

    Raises:
        Unreadable: too large, not JSON, or not a CloudEvent.
    """
    if len(body) > MAX_BODY_BYTES:
        raise Unreadable("too_large", f"{len(body)} bytes; the limit is {MAX_BODY_BYTES}.")
    try:
        return Envelope.model_validate_json(body)
    except ValidationError as error:
        raise Unreadable("not_a_cloudevent", describe(error)) from error


def describe(error: ValidationError) -> str:
    """A validation error as one line that names every field, without the values."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'body'}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False)
    )

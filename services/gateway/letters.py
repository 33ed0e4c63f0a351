"""How dead letters are shown: any bytes as text that can be read, with word of what they are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import orjson
from pydantic import BaseModel, Field

from services.gateway.models.shown import Page, Shown
from shared.db import Row

LetterState = Literal["open", "replay_asked", "replayed", "discarded"]


class LetterBody(BaseModel):
    """A body, readable whatever it is."""

    form: Annotated[
        Literal["json", "text", "binary"],
        Field(description="`binary`: no UTF-8; the bytes that are no text stand as `\\xNN`."),
    ]
    text: str
    size: Annotated[int, Field(description="Its bytes, as it came.")]
    whole: Annotated[bool, Field(description="False: only the first 64 KiB were kept.")]

    @classmethod
    def of(cls, kept: bytes, size: int) -> Self:
        """Show what was kept of a body of this size."""
        try:
            text, form = kept.decode(), "text"
        except UnicodeDecodeError as error:
            # A letter that was cut in the middle of a character is still text.
            cut = size > len(kept) and error.start >= len(kept) - 3
            text, form = kept.decode(errors="backslashreplace"), "text" if cut else "binary"
        if form == "text" and size == len(kept) and _is_json(kept):
            form = "json"
        return cls.model_validate(
            {"form": form, "text": text, "size": size, "whole": size == len(kept)}
        )


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


class LetterAct(Shown):
    """Something that was done to a dead letter."""

    act: Literal["mended", "replay_asked", "replayed", "refused", "discarded", "died_again"]
    by: Annotated[str, Field(description="`key:<id>` or `service:<name>`.")]
    note: Annotated[str, Field(description="Why, or what came of it.")]
    at: datetime
    body: Annotated[LetterBody | None, Field(description="What it was mended to.")] = None

    @classmethod
    def of(cls, row: Row) -> Self:
        """Show a row."""
        body = row["body"]
        shown = None if body is None else LetterBody.of(body, len(body))
        return cls.model_validate({**dict(row), "body": shown})


class DeadLetter(Shown):
    """A message that nobody could handle, or that nobody was bound to."""

    id: UUID
    state: LetterState
    queue: Annotated[str, Field(description="Where it died; `pointmill.unrouted`: in none.")]
    exchange: str
    routing_key: str
    sender: Annotated[
        str | None, Field(description="The broker's user who sent it; null: it was not said.")
    ] = None
    reason: Annotated[str, Field(description="A code.", examples=["unsupported_version"])]
    detail: str
    owner: Annotated[str, Field(description="The service that a replay is for.")]
    message_id: str | None = None
    body_bytes: int
    outcome: Annotated[str | None, Field(description="What the last replay came to.")] = None
    seen: Annotated[int, Field(description="How often the same message has died.")]
    first_seen_at: datetime
    last_seen_at: datetime


class DeadLetterDetails(DeadLetter):
    """All that is kept of a dead letter."""

    headers: dict[str, Any]
    body: LetterBody
    mended: Annotated[LetterBody | None, Field(description="What a replay takes instead.")] = None
    acts: Annotated[list[LetterAct], Field(description="The oldest first, the last hundred.")]

    @classmethod
    def with_acts(cls, row: Row, acts: Sequence[Row]) -> Self:
        """Show a row and what was done to it."""
        mended = row["mended"]
        return cls.model_validate(
            {
                **dict(row),
                "body": LetterBody.of(row["body"], row["body_bytes"]),
                "mended": None if mended is None else LetterBody.of(mended, len(mended)),
                "acts": [LetterAct.of(act) for act in acts],
            }
        )


class DeadLetters(Page[DeadLetter]):
    """A part of the list of dead letters."""

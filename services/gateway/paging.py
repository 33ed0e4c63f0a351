"""Lists, part by part: newest first, resumed behind the last row seen, whatever happens in between."""

import base64
import binascii
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from services.gateway.fields import Order
from services.gateway.problems import INVALID_CURSOR, Problem
from shared.db import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Microseconds since 1970, then the id: the order of the lists.
FORM = struct.Struct(">q16s")
Cursor = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")]


class Listing(Order):
    """The query of every list."""

    limit: Annotated[int, Field(ge=1, le=200, description="How many at most.")] = 50
    cursor: Annotated[Cursor | None, Field(description="The `next` of the part before.")] = None

    def after(self) -> tuple[datetime | None, UUID | None]:
        """Where the last part ended: nulls at the beginning."""
        if self.cursor is None:
            return None, None
        try:
            data = base64.urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))
            microseconds, identifier = FORM.unpack(data)
            return EPOCH + timedelta(microseconds=microseconds), UUID(bytes=identifier)
        except (binascii.Error, struct.error, OverflowError) as error:
            raise Problem.of_field(INVALID_CURSOR, "cursor", "is not one of ours") from error

    def cut(self, rows: Sequence[Row]) -> tuple[Sequence[Row], str | None]:
        """The part's rows and the next cursor, of a query that asked for one row more."""
        if len(rows) <= self.limit:
            return rows, None
        last = rows[self.limit - 1]
        microseconds = (last["created_at"] - EPOCH) // timedelta(microseconds=1)
        data = FORM.pack(microseconds, last["id"].bytes)
        return rows[: self.limit], base64.urlsafe_b64encode(data).decode().rstrip("=")

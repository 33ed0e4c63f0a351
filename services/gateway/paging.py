"""Lists, part by part, resumed behind the last row seen, whatever happens in between.

A cursor holds where in its order a part ended, never how many rows came before. Whoever makes one up
sees only what the workspace may see anyway.
"""

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from aiohttp import web
from pydantic import Field, StringConstraints

from services.gateway.fields import Order
from services.gateway.problems import INVALID_CURSOR, Problem
from shared.db import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Microseconds since 1970, then the id: the order of most lists.
BY_TIME = struct.Struct(">q16s")
# The id, then the name. The mark makes it longer than the other.
NAME_MARK = b"by name: "
Cursor = Annotated[str, StringConstraints(max_length=1200, pattern=r"^[A-Za-z0-9_-]*$")]
Place = tuple[datetime | str | None, UUID | None]
TIMES_OR_NAMES = Literal["-created_at", "created_at", "name", "-name"]
SORTED = "What comes first: `-` turns it round. A cursor belongs to one order."


class Listing(Order):
    """The query of every list."""

    limit: Annotated[int, Field(ge=1, le=200, description="How many at most.")] = 50
    cursor: Annotated[Cursor | None, Field(description="The `next` of the part before.")] = None

    def after(self) -> Place:
        """Where the last part ended: nulls at the beginning."""
        if self.cursor is None:
            return None, None
        try:
            data = base64.urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))
            return _read_name(data) if self.by_name else _read_time(data)
        except (ValueError, binascii.Error, struct.error, OverflowError) as error:
            message = "is not one of ours, or of another order"
            raise Problem.of_field(INVALID_CURSOR, "cursor", message) from error

    def cut(self, rows: Sequence[Row]) -> tuple[Sequence[Row], str | None]:
        """The part's rows and the next cursor, of a query that asked for one row more."""
        if len(rows) <= self.limit:
            return rows, None
        last = rows[self.limit - 1]
        if self.by_name:
            data = NAME_MARK + last["id"].bytes + last["name"].encode()
        else:
            microseconds = (last["created_at"] - EPOCH) // timedelta(microseconds=1)
            data = BY_TIME.pack(microseconds, last["id"].bytes)
        return rows[: self.limit], base64.urlsafe_b64encode(data).decode().rstrip("=")

    @property
    def by_name(self) -> bool:
        """Whether names, not times, say what comes first."""
        return False


class SortedByTime(Listing):
    """A list that may be read from either end."""

    sort: Annotated[Literal["-created_at", "created_at"], Field(description=SORTED)] = "-created_at"

    def choose(self, statements: Mapping[str, str]) -> str:
        """The statement for this order."""
        return statements[self.sort]


class Sorted(Listing):
    """A list that may be read from either end, by time or by name."""

    sort: Annotated[TIMES_OR_NAMES, Field(description=SORTED)] = "-created_at"

    def choose(self, statements: Mapping[str, str]) -> str:
        """The statement for this order."""
        return statements[self.sort]

    @property
    def by_name(self) -> bool:
        """Whether names, not times, say what comes first."""
        return self.sort in {"name", "-name"}


def _read_time(data: bytes) -> Place:
    microseconds, identifier = BY_TIME.unpack(data)
    return EPOCH + timedelta(microseconds=microseconds), UUID(bytes=identifier)


def _read_name(data: bytes) -> Place:
    start = len(NAME_MARK)
    name = data[start + 16 :].decode()
    if not data.startswith(NAME_MARK) or not name or "\x00" in name:
        raise ValueError(data)
    return name, UUID(bytes=data[start : start + 16])


def link_to(request: web.Request, cursor: str) -> dict[str, str]:
    """The header that tells what follows (RFC 8288): this very list, from the cursor on."""
    return {"Link": f'<{request.rel_url.update_query(cursor=cursor)}>; rel="next"'}

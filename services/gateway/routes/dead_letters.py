"""Dead letters: messages nobody could handle, to be mended, replayed or discarded. For operators."""

from typing import Annotated
from uuid import UUID

import orjson
from pydantic import Field, StringConstraints

from services.gateway.api import Query, Reply, Routes
from services.gateway.caller import Operator
from services.gateway.fields import NO_NUL, Document, Order
from services.gateway.letters import DeadLetter, DeadLetterDetails, DeadLetters, LetterState
from services.gateway.paging import Listing
from services.gateway.problems import (
    DEAD_LETTER_NOT_FOUND,
    DEAD_LETTER_SETTLED,
    DEAD_LETTER_UNREADABLE,
    Problem,
)
from services.gateway.resources import Gateway
from shared.db import Row, Transaction
from shared.messages import Unreadable, read_data, read_envelope

routes = Routes("dead letters")

Word = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=NO_NUL)]


class LetterListing(Listing):
    """Which dead letters to list."""

    state: LetterState | None = None
    queue: Annotated[Word | None, Field(description="Where they died.")] = None
    reason: Annotated[Word | None, Field(description="Why they died.")] = None
    sender: Annotated[Word | None, Field(description="Who sent them.")] = None


class Mending(Order):
    """What a replay takes in place of the body."""

    message: Annotated[Document, Field(description="The whole CloudEvent.")]


class Discarding(Order):
    """Why a dead letter is given up."""

    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1000, strip_whitespace=True, pattern=NO_NUL),
    ]


@routes.get("/v1/dead-letters")
async def list_dead_letters(
    gateway: Gateway,
    operator: Operator,  # noqa: ARG001 - asked for a right
    query: Annotated[LetterListing, Query()],
) -> DeadLetters:
    """List the dead letters, newest first."""
    found = await gateway.database.rows(
        "list_dead_letters",
        *query.after(),
        query.limit + 1,
        query.state,
        query.queue,
        query.reason,
        query.sender,
    )
    rows, cursor = query.cut(found)
    return DeadLetters(items=[DeadLetter.of(row) for row in rows], next=cursor)


@routes.get("/v1/dead-letters/{letter_id}", problems=(DEAD_LETTER_NOT_FOUND,))
async def read_dead_letter(
    gateway: Gateway,
    operator: Operator,  # noqa: ARG001 - same
    letter_id: UUID,
) -> DeadLetterDetails:
    """Read a dead letter: its headers, its body as it came and as mended, and what was done to it."""
    async with gateway.database.transaction() as transaction:
        row = await transaction.row("read_dead_letter", letter_id)
        if row is None:
            raise Problem(DEAD_LETTER_NOT_FOUND)
        return await _show(transaction, row)


@routes.post(
    "/v1/dead-letters/{letter_id}/mend",
    problems=(DEAD_LETTER_NOT_FOUND, DEAD_LETTER_SETTLED, DEAD_LETTER_UNREADABLE),
)
async def mend_dead_letter(
    gateway: Gateway, operator: Operator, letter_id: UUID, body: Mending
) -> DeadLetterDetails:
    """Mend a dead letter: a replay takes this message. The body that came is kept.

    The message must be one that the services can read; who sent it does not change.
    """
    mended = orjson.dumps(body.message)
    try:
        read_data(read_envelope(mended))
    except Unreadable as error:
        raise Problem.of_field(DEAD_LETTER_UNREADABLE, "message", str(error)) from error
    return await _move(gateway, letter_id, "mended", operator, body=mended)


@routes.post(
    "/v1/dead-letters/{letter_id}/replay",
    status=202,
    problems=(DEAD_LETTER_NOT_FOUND, DEAD_LETTER_SETTLED),
)
async def replay_dead_letter(
    gateway: Gateway, operator: Operator, letter_id: UUID
) -> Reply[DeadLetterDetails]:
    """Have the service that did not handle it do so now, on the mended body if there is one.

    Within a few seconds the state is `replayed`, or `open` again if it was refused once more;
    `outcome` says what came of it. To ask again meanwhile changes nothing.
    """
    asked = await _move(gateway, letter_id, "replay_asked", operator)
    return Reply(asked, headers={"Location": f"/v1/dead-letters/{letter_id}", "Retry-After": "2"})


@routes.post(
    "/v1/dead-letters/{letter_id}/discard",
    problems=(DEAD_LETTER_NOT_FOUND, DEAD_LETTER_SETTLED),
)
async def discard_dead_letter(
    gateway: Gateway, operator: Operator, letter_id: UUID, body: Discarding
) -> DeadLetterDetails:
    """Give a dead letter up, and say why. It can be read for ninety days more."""
    return await _move(gateway, letter_id, "discarded", operator, note=body.reason)


async def _move(  # noqa: PLR0913 - the columns of an act
    gateway: Gateway,
    letter_id: UUID,
    act: str,
    operator: Operator,
    *,
    note: str = "",
    body: bytes | None = None,
) -> DeadLetterDetails:
    async with gateway.database.transaction() as transaction:
        row = await transaction.row(
            "move_dead_letter", letter_id, act, operator.principal, note, body
        )
        if row is None:
            row = await transaction.row("read_dead_letter", letter_id)
            if row is None:
                raise Problem(DEAD_LETTER_NOT_FOUND)
            if row["state"] != act:  # else somebody asked for the same a moment ago
                raise Problem(DEAD_LETTER_SETTLED, f"The dead letter is {row['state']}.")
        return await _show(transaction, row)


async def _show(transaction: Transaction, row: Row) -> DeadLetterDetails:
    acts = await transaction.rows("list_dead_letter_acts", row["id"])
    return DeadLetterDetails.with_acts(row, acts)

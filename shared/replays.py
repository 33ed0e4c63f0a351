"""Replays: a dead letter whose replay was asked for goes through its owner's own handler.

Each service's SQL for its own letters stands in its own queries file: `take_replay`, `end_replay`.
The row is held meanwhile, so that no two processes replay the same one. Handlers are repeatable:
after a crash between the handler and the mark the letter is simply replayed again.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared.bus import Delivery
from shared.db import Database, Row
from shared.errors import Unavailable
from shared.messages import Unreadable, read_envelope

POLL_SECONDS = 1.0

logger = structlog.get_logger()

Replay = Callable[[Delivery], Awaitable[str]]


async def replay(database: Database, handle: Replay) -> None:
    """Replay what was asked for, for ever; `handle` says in a word or sentence what came of it."""
    while True:
        try:
            while await replay_one(database, handle):
                pass
        except Unavailable as error:
            logger.warning("replays_wait", code=error.code, detail=error.detail)
        await asyncio.sleep(POLL_SECONDS)


async def replay_one(database: Database, handle: Replay) -> bool:
    """Replay the letter that has waited longest; False when none waits.

    Raises:
        Unavailable: something is away; the letter stays, to be replayed again.
    """
    async with database.transaction() as transaction:
        row = await transaction.row("take_replay")
        if row is None:
            return False
        act, outcome = await _handle(row, handle)
        await transaction.value("end_replay", row["id"], act, outcome[:1000])
    logger.info("dead_letter_replayed", letter_id=str(row["id"]), act=act, outcome=outcome)
    return True


async def _handle(row: Row, handle: Replay) -> tuple[str, str]:
    if row["cut"]:
        return "refused", "too_large: Only its beginning was kept; mend it first."
    try:
        # The sender is the one that the broker proved when the message came.
        delivery = Delivery(
            envelope=read_envelope(row["body"]),
            routing_key=row["routing_key"],
            user_id=row["sender"],
            redelivered=True,
        )
        return "replayed", await handle(delivery)
    except Unreadable as error:
        return "refused", str(error)
    except Unavailable:
        raise
    except Exception:
        logger.exception("replay_failed", letter_id=str(row["id"]))
        return "refused", "handler_failed: see the service's log."

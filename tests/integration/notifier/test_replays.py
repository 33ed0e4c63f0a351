"""A dead event that is replayed goes through the notifier's own handler, and tells once."""

import asyncio
import hashlib
from typing import Any

import orjson
import pytest

from tests.integration.notifier.receivers import until
from tests.integration.notifier.stage import End, Stage


async def died(stage: Stage, end: End, owner: str = "notifier") -> Any:
    """The event of a version nobody knows, as the registrar keeps it; the id of the letter."""
    body = orjson.dumps({**end.outgoing.message, "type": "pointmill.job.succeeded.v9"})
    async with stage.database.connected("processor") as processor:
        await processor.fetchval(
            "select keep_dead_letter($1, $2, 'notifier.events', 'pointmill.events', $3, 'processor',"
            " 'unsupported_version', 'x', null, '{}', $4, $5, false)",
            hashlib.sha256(body + owner.encode()).digest(),
            owner,
            end.outgoing.routing_key,
            body,
            len(body),
        )
    return (await stage.run("select id from dead_letters where owner = $1", owner))[0]["id"]


async def ask(stage: Stage, letter: Any, mended: bytes | None = None) -> None:
    async with stage.database.connected("gateway") as gateway:
        move = "select move_dead_letter($1, $2, 'key:test', '', $3)"
        if mended is not None:
            await gateway.fetch(move, letter, "mended", mended)
        await gateway.fetch(move, letter, "replay_asked", None)


async def outcome(stage: Stage, letter: Any) -> tuple[str, str]:
    async def settled() -> bool:
        rows = await stage.run("select state::text from dead_letters where id = $1", letter)
        return bool(rows[0]["state"] != "replay_asked")

    await until(settled)
    row = (await stage.run("select state::text, outcome from dead_letters where id = $1", letter))[
        0
    ]
    return row["state"], row["outcome"]


async def test_a_mended_event_is_told_once_however_often_it_is_replayed(stage: Stage) -> None:
    await stage.add_webhook("/hook")
    end = await stage.end_job()
    letter = await died(stage, end)
    async with stage.notifier(reconcile_seconds=3600):
        await ask(stage, letter)
        assert await outcome(stage, letter) == (
            "open",
            "unsupported_version: pointmill.job.succeeded.v9",
        )
        assert await stage.deliveries() == []
        await ask(stage, letter, orjson.dumps(end.outgoing.message))
        assert await outcome(stage, letter) == ("replayed", "planned")
        await stage.settled(2)
        await stage.run("update dead_letters set state = 'open'")  # the same has died again
        await ask(stage, letter)
        assert await outcome(stage, letter) == (
            "replayed",
            "nothing to do: told already, or no such event",
        )
        await asyncio.sleep(1)  # what is too much would come now
    assert [call.event for call in stage.receiver.calls] == [end.event]
    assert stage.mailbox.events == [end.event]


async def test_the_notifier_sees_no_dead_letter_of_another_service(stage: Stage) -> None:
    end = await stage.end_job()
    letter = await died(stage, end, "processor")
    async with stage.database.connected("notifier") as notifier:
        assert await notifier.fetch("select * from dead_letters") == []
        assert (
            await notifier.fetch("select move_dead_letter($1, 'discarded', 'x', '')", letter) == []
        )


@pytest.mark.parametrize("form", ["text", "deep"])
async def test_an_event_that_cannot_be_read_is_refused_again(stage: Stage, form: str) -> None:
    end = await stage.end_job()
    letter = await died(stage, end)
    async with stage.notifier():
        await ask(stage, letter, b"hello" if form == "text" else b"[" * 20_000)
        state, said = await outcome(stage, letter)
    assert state == "open"
    assert said.startswith("not_a_cloudevent: ")

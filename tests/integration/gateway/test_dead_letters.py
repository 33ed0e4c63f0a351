"""Operators read, mend, replay and discard dead letters over HTTP and by `pointmill`."""

import asyncio
import hashlib
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.integration.gateway.conftest import Running

MESSAGE = {
    "specversion": "1.0",
    "id": "order-1",
    "source": "/survey/planner",
    "type": "pointmill.job.requested.v1",
    "data": {"kind": "demo.print"},
}


async def keep(running: Running, body: bytes, size: int | None = None, **columns: str) -> str:
    """A dead letter, as the registrar keeps it; its id."""
    given = {"queue": "processor.intake", "sender": "planner", "reason": "not_a_cloudevent"}
    given |= columns
    fingerprint = hashlib.sha256(body + orjson.dumps(given)).digest()
    async with running.database.connected("processor") as processor:
        await processor.fetchval(
            "select keep_dead_letter($1, 'processor', $2, 'pointmill.requests', 'request.demo_print',"
            " $3, $4, 'body: Invalid JSON', null, '{\"x\": 1}', $5, $6, false)",
            fingerprint, given["queue"], given["sender"], given["reason"], body, size or len(body),
        )  # fmt: skip
    async with running.database.connected() as connection:
        found = await connection.fetchval(
            "select id from dead_letters where fingerprint = $1", fingerprint
        )
    return str(found)


async def settle(running: Running, letter: str, act: str, note: str) -> None:
    """What the owner's loop says in the end."""
    async with running.database.connected("processor") as processor:
        await processor.fetch(
            "select move_dead_letter($1, $2, 'service:processor', $3)", letter, act, note
        )


async def test_a_letter_is_mended_replayed_and_everything_about_it_is_told(
    running: Running,
) -> None:
    api, path = running.api, f"/v1/dead-letters/{await keep(running, b'hello')}"
    read = (await api("GET", path)).json
    assert (read["state"], read["reason"], read["sender"]) == (
        "open",
        "not_a_cloudevent",
        "planner",
    )
    assert read["body"] == {"form": "text", "text": "hello", "size": 5, "whole": True}
    assert (read["headers"], read["mended"], read["acts"]) == ({"x": 1}, None, [])
    mended = await api("POST", f"{path}/mend", json={"message": MESSAGE})
    assert mended.status == 200
    assert orjson.loads(mended.json["mended"]["text"]) == MESSAGE
    assert mended.json["body"]["text"] == "hello"
    for _ in range(2):  # to ask twice is to ask once
        asked = await api("POST", f"{path}/replay")
        assert (asked.status, asked.json["state"]) == (202, "replay_asked")
    assert (await api("POST", f"{path}/discard", json={"reason": "x"})).problem == (
        409,
        "dead_letter_settled",
        [],
    )
    await settle(running, read["id"], "replayed", "accepted: job 7")
    told = (await api("GET", path)).json
    assert (told["state"], told["outcome"]) == ("replayed", "accepted: job 7")
    key = f"key:{(api.key or '')[3:11]}"
    assert [(act["act"], act["by"]) for act in told["acts"]] == [
        ("mended", key),
        ("replay_asked", key),
        ("replayed", "service:processor"),
    ]
    assert orjson.loads(told["acts"][0]["body"]["text"]) == MESSAGE
    assert (await api("POST", f"{path}/replay")).problem == (409, "dead_letter_settled", [])


async def test_what_was_refused_again_can_be_mended_again_and_every_version_is_kept(
    running: Running,
) -> None:
    path = f"/v1/dead-letters/{(letter := await keep(running, b'once more'))}"
    for number in (1, 2):
        message = {**MESSAGE, "id": f"order-{number}"}
        assert (await running.api("POST", f"{path}/mend", json={"message": message})).status == 200
        await running.api("POST", f"{path}/replay")
        await settle(running, letter, "refused", "no_sender: x")
    told = (await running.api("GET", path)).json
    assert told["state"] == "open"
    kept = [orjson.loads(act["body"]["text"])["id"] for act in told["acts"] if act["body"]]
    assert kept == ["order-1", "order-2"]
    assert orjson.loads(told["mended"]["text"])["id"] == "order-2"


async def test_a_letter_is_discarded_with_a_reason(running: Running) -> None:
    path = f"/v1/dead-letters/{await keep(running, b'of no use')}"
    for reason in ("", "   ", None):
        refused = await running.api("POST", f"{path}/discard", json={"reason": reason})
        assert refused.problem == (422, "invalid_request", ["reason"])
    done = await running.api("POST", f"{path}/discard", json={"reason": "A test of theirs."})
    assert done.json["state"] == "discarded"
    assert done.json["acts"][0]["note"] == "A test of theirs."


@pytest.mark.parametrize(
    "message",
    [
        {},
        {**MESSAGE, "type": "pointmill.job.requested.v9"},
        {**MESSAGE, "type": "somebody.else.v1"},
        {**MESSAGE, "data": {"kind": 7}},
        {**MESSAGE, "data": {"kind": "demo.print", "params": {"first": "x" * 70_000}}},
    ],
    ids=["empty", "version", "type", "data", "too large"],
)
async def test_what_no_service_could_read_is_no_mending(running: Running, message: Any) -> None:
    path = f"/v1/dead-letters/{await keep(running, b'unmended')}"
    refused = await running.api("POST", f"{path}/mend", json={"message": message})
    assert refused.problem == (422, "dead_letter_unreadable", ["message"])
    assert (await running.api("GET", path)).json["mended"] is None


@pytest.mark.parametrize(
    ("body", "size", "form", "text"),
    [
        (orjson.dumps(MESSAGE), None, "json", orjson.dumps(MESSAGE).decode()),
        (b"\x00\x1b[31m red", None, "text", "\x00\x1b[31m red"),
        (b"\xff\xfe\x00LASF", None, "binary", "\\xff\\xfe\x00LASF"),
        ("a€".encode()[:3], 70_000, "text", "a\\xe2\\x82"),
        (b"[1]", 70_000, "text", "[1]"),
        (b"[" * 60_000, None, "text", "[" * 60_000),
        (b"", None, "text", ""),
    ],
    ids=["json", "control", "binary", "cut in a character", "cut json", "deep", "empty"],
)
async def test_any_body_can_be_read(
    running: Running, body: bytes, size: int | None, form: str, text: str
) -> None:
    path = f"/v1/dead-letters/{await keep(running, body, size, reason='x')}"
    shown = (await running.api("GET", path)).json["body"]
    assert (shown["form"], shown["text"]) == (form, text)
    assert (shown["size"], shown["whole"]) == (size or len(body), size is None)


async def test_letters_are_listed_by_what_they_are(running: Running) -> None:
    mine = [
        await keep(running, f"{number}".encode(), sender="lister", reason=f"r{number % 2}")
        for number in range(5)
    ]
    await running.api("POST", f"/v1/dead-letters/{mine[0]}/discard", json={"reason": "x"})

    async def listed(query: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            path = f"/v1/dead-letters?limit=2&sender=lister{query}{cursor}"
            answer = (await running.api("GET", path)).json
            found += [item["id"] for item in answer["items"]]
            if answer["next"] is None:
                return found
            cursor = f"&cursor={answer['next']}"

    assert await listed("") == mine[::-1]
    assert await listed("&state=open") == mine[:0:-1]
    assert await listed("&reason=r1") == [mine[3], mine[1]]
    assert await listed("&queue=pointmill.unrouted") == []
    wrong = await running.api("GET", "/v1/dead-letters?state=tired")
    assert wrong.problem == (422, "invalid_request", ["state"])


async def pointmill(running: Running, *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.gateway.client", *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={
            **os.environ,
            "POINTMILL_URL": running.api.base,
            "POINTMILL_API_KEY": running.api.key or "",
        },
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate(given)
    assert "Traceback" not in err.decode()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_command_line_does_the_same(running: Running, tmp_path: Path) -> None:
    letter = await keep(running, b"\x1b[31mred \xff", sender="night")
    status, out, _ = await pointmill(running, "dead-letters", "list", "--sender", "night")
    assert status == 0
    assert letter in out
    status, out, _ = await pointmill(running, "dead-letters", "show", letter)
    assert status == 0
    assert "\x1b" not in out
    assert "not_a_cloudevent" in out
    status, _, err = await pointmill(running, "dead-letters", "mend", letter, "-", given=b"{")
    assert (status, "unreadable_message" in err) == (1, True)
    file = tmp_path / "message.json"
    file.write_text(json.dumps(MESSAGE))
    status, out, _ = await pointmill(running, "dead-letters", "mend", letter, str(file), "--json")
    assert (status, json.loads(out)["mended"]["form"]) == (0, "json")
    status, out, _ = await pointmill(running, "dead-letters", "replay", letter, "--json")
    assert (status, json.loads(out)["state"]) == (0, "replay_asked")
    status, _, err = await pointmill(running, "dead-letters", "discard", letter, "enough")
    assert (status, "dead_letter_settled" in err) == (1, True)
    status, out, _ = await pointmill(running, "dead-letters", "--json")
    assert letter not in [item["id"] for item in json.loads(out)]  # those that are open
    status, out, _ = await pointmill(running, "instances", "--json")
    assert (status, [one["service"] for one in json.loads(out)]) == (0, ["gateway"])
    status, out, _ = await pointmill(running, "instances")
    assert (status, "job.succeeded.v1" in out) == (0, True)

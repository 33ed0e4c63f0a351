"""A creating request under an Idempotency-Key is done once, and answered as it was the first time."""

import asyncio
import os
import uuid
from dataclasses import replace
from typing import Any

import pytest

from services.gateway.app import ROUTES
from tests.integration.gateway.conftest import Answer, Api, Running

PRINT = {"kind": "demo.print", "params": {"first": "a"}}
CREATING = {
    "/v1/projects": {"name": "once"},
    "/v1/clouds": {"name": "once"},
    "/v1/jobs": PRINT,
    "/v1/schedules": {"name": "once", **PRINT, "cron": "0 0 1 1 *"},
    "/v1/webhooks": {"url": "https://example.org/once"},
    "/v1/jobs/retry": {"error_code": "nothing_fails_so"},
}


def a_key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


async def count(running: Running, table: str) -> int:
    async with running.database.connected() as connection:
        return int(await connection.fetchval(f"select count(*) from {table}"))  # noqa: S608


def same(answers: list[Answer]) -> bool:
    return len({(one.status, one.body, one.headers.get("Location")) for one in answers}) == 1


@pytest.mark.parametrize("path", CREATING)
async def test_a_repeat_gets_the_first_answer_whatever_is_made(api: Api, path: str) -> None:
    headers = a_key()
    first = await api("POST", path, json=CREATING[path], headers=headers)
    again = await api("POST", path, json=CREATING[path], headers=headers)
    assert first.status in {201, 202}
    assert same([first, again])
    assert first.headers.get("ETag") == again.headers.get("ETag")
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await api("POST", path, json={**CREATING[path], "unknown": 1}, headers=headers)
    assert other.status == 422


async def test_the_answer_is_kept_when_what_was_made_is_gone(api: Api) -> None:
    headers = a_key()
    first = await api("POST", "/v1/projects", json={"name": "gone"}, headers=headers)
    await api("DELETE", first.headers["Location"])
    again = await api("POST", "/v1/projects", json={"name": "gone"}, headers=headers)
    assert same([first, again])
    assert (await api("GET", first.headers["Location"])).status == 404


async def test_twenty_twins_make_one(running: Running) -> None:
    before, headers = await count(running, "webhooks"), a_key()
    order = {"url": "https://example.org/twins"}
    answers = await asyncio.gather(
        *(running.api("POST", "/v1/webhooks", json=order, headers=headers) for _ in range(20))
    )
    assert same(answers)
    assert await count(running, "webhooks") == before + 1


async def test_whoever_may_make_it_may_do_so_under_a_key(running: Running) -> None:
    made = await running.api.make("/v1/keys", name="once", role="editor")
    editor = replace(running.api, key=made["key"])
    order = {"url": "https://example.org/editor"}
    assert (await editor("POST", "/v1/webhooks", json=order, headers=a_key())).status == 201


async def test_another_request_under_the_key_is_refused(api: Api) -> None:
    headers = a_key()
    await api("POST", "/v1/clouds", json={"name": "a"}, headers=headers)
    other = await api("POST", "/v1/clouds", json={"name": "b"}, headers=headers)
    assert other.problem == (422, "idempotency_key_reused", ["Idempotency-Key"])


async def test_a_refusal_is_not_remembered(api: Api) -> None:
    taken = await api.make("/v1/projects", name="taken for now")
    headers = a_key()
    order = {"name": "taken for now"}
    refused = await api("POST", "/v1/projects", json=order, headers=headers)
    assert refused.problem == (409, "project_name_taken", ["name"])
    await api("DELETE", f"/v1/projects/{taken['id']}")
    assert (await api("POST", "/v1/projects", json=order, headers=headers)).status == 201


async def test_a_file_is_taken_once(running: Running) -> None:
    api, headers = running.api, a_key()
    before = await count(running, "clouds"), len(running.stored())
    path = f"/v1/clouds?name=once.laz&project_name={uuid.uuid4().hex}"
    first = await api("POST", path, data=b"LASF", headers=headers)
    again = await api("POST", path, data=b"LASF", headers=headers)
    assert first.status == 201
    assert same([first, again])
    longer = await api("POST", path, data=b"LASF longer", headers=headers)
    assert longer.problem == (422, "idempotency_key_reused", ["Idempotency-Key"])
    assert (await count(running, "clouds"), len(running.stored())) == (before[0] + 1, before[1] + 1)


async def test_of_files_that_arrive_at_once_one_is_kept(running: Running) -> None:
    api, headers = running.api, a_key()
    before = await count(running, "clouds"), len(running.stored())
    data = os.urandom(500_000)
    answers = await asyncio.gather(
        *(api("PUT", "/v1/clouds?name=o.laz", data=data, headers=headers) for _ in range(4))
    )
    made = [one for one in answers if one.status == 201]
    assert made
    assert same(made)
    for one in answers:
        if one.status != 201:
            assert one.problem == (409, "idempotency_key_in_use", [])
    assert (await count(running, "clouds"), len(running.stored())) == (before[0] + 1, before[1] + 1)


async def test_nothing_is_left_when_the_answer_cannot_be_stored(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer and what was made are one transaction: without it a repeat would make another."""
    statements = dict(running.gateway.database.statements)
    broken = {**statements, "keep_answer": "select 1 / 0 where $8::bytea is not null"}
    before, headers = await count(running, "webhooks"), a_key()
    order = {"url": "https://example.org/undone"}
    with monkeypatch.context() as patch:
        patch.setattr(running.gateway.database, "statements", broken)
        assert (
            await running.api("POST", "/v1/webhooks", json=order, headers=headers)
        ).status == 500
    assert await count(running, "webhooks") == before
    assert (await running.api("POST", "/v1/webhooks", json=order, headers=headers)).status == 201
    assert await count(running, "webhooks") == before + 1


async def test_a_job_made_under_a_key_is_told_to_the_bus(running: Running) -> None:
    made = await running.api("POST", "/v1/jobs", json=PRINT, headers=a_key())
    for _ in range(40):
        if not await count(running, "outbox where message->>'subject' = '" + made.json["id"] + "'"):
            return
        await asyncio.sleep(0.05)
    pytest.fail("nobody has told it within two seconds")


def test_every_creating_post_takes_a_key() -> None:
    """201, or 202 for jobs: what else answers POST moves what is there, and may be repeated as it is."""
    moving = {"/v1/jobs/cancel", "/v1/jobs/{job_id}/cancel", "/v1/dead-letters/{letter_id}/replay"}
    # Whose answer holds a secret that the database must not know.
    secret = {"/v1/keys", "/v1/clouds/{cloud_id}/upload-session"}
    # What is done once by itself: the cloud takes one file, and a repeat is answered as the first was.
    once = {"/v1/clouds/{cloud_id}/upload-session/complete"}
    lacking: list[Any] = [
        route.path
        for group in ROUTES
        for route in group
        if route.method == "POST"
        and route.status in {201, 202}
        and route.path not in moving | secret | once
        and not route.path.endswith("/url")  # a signed link is worked out, nothing is made
        and route.signature.once is None
    ]
    assert lacking == []

"""Operators pause and limit kinds and share the slots, over HTTP and by the command."""

import asyncio
import uuid
from typing import Any

import pytest

from services.gateway.client.__main__ import main
from tests.integration.gateway.conftest import OTHER_WORKSPACE, Api, Running

PRINT = {"kind": "demo.print", "params": {"first": "a"}}


async def change(api: Api, path: str, **fields: Any) -> Any:
    answer = await api("PATCH", path, json=fields)
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_paused_kind_waits_until_it_is_resumed(running: Running) -> None:
    api = running.api
    await change(api, "/v1/kinds/demo.print", paused=True)
    paused = (await api("GET", "/v1/kinds/demo.print")).json["paused_at"]
    assert paused is not None
    assert (await change(api, "/v1/kinds/demo.print", paused=True))["paused_at"] == paused
    await api.make("/v1/jobs", **PRINT)
    assert await running.claim() is None
    assert (await change(api, "/v1/kinds/demo.print", paused=False))["paused_at"] is None
    assert (await running.claim())["kind"] == "demo.print"


async def test_the_starts_of_a_kind_are_limited_and_set_free_again(running: Running) -> None:
    api = running.api
    limited = await change(api, "/v1/kinds/demo.print", starts_per_minute=1)
    assert (limited["starts_per_minute"], limited["paused_at"]) == (1, None)
    for _ in range(2):
        await api.make("/v1/jobs", **PRINT)
    assert [await running.claim() is not None for _ in range(2)] == [True, False]
    assert (await change(api, "/v1/kinds/demo.print", paused=False))["starts_per_minute"] == 1
    free = await change(api, "/v1/kinds/demo.print", starts_per_minute=None)
    assert free["starts_per_minute"] is None
    assert await running.claim() is not None


async def test_a_workspaces_weight_and_cap_are_set_and_what_is_left_out_stays(
    running: Running,
) -> None:
    path = f"/v1/workspaces/{OTHER_WORKSPACE}"
    assert (await change(running.api, path, weight=3, max_running=2))["weight"] == 3
    kept = await change(running.api, path, max_running=None)
    assert (kept["weight"], kept["max_running"], kept["name"]) == (3, None, "other")
    listed = (await running.api("GET", "/v1/workspaces")).json["items"]
    assert {one["name"]: one["weight"] for one in listed} == {"default": 1, "other": 3}


@pytest.mark.parametrize(
    ("path", "fields", "problem"),
    [
        ("/v1/kinds/no.such", {"paused": True}, (404, "kind_not_found", [])),
        ("/v1/kinds/demo.print", {"pause": True}, (422, "invalid_request", ["pause"])),
        (
            "/v1/kinds/demo.print",
            {"starts_per_minute": 0},
            (422, "invalid_request", ["starts_per_minute"]),
        ),
        (f"/v1/workspaces/{uuid.UUID(int=9)}", {"weight": 1}, (404, "workspace_not_found", [])),
        (f"/v1/workspaces/{OTHER_WORKSPACE}", {"weight": 0}, (422, "invalid_request", ["weight"])),
        (
            f"/v1/workspaces/{OTHER_WORKSPACE}",
            {"max_running": -1},
            (422, "invalid_request", ["max_running"]),
        ),
    ],
)
async def test_what_cannot_be_is_refused(api: Api, path: str, fields: Any, problem: Any) -> None:
    assert (await api("PATCH", path, json=fields)).problem == problem


async def test_the_commands_do_the_same(
    running: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POINTMILL_URL", running.api.base)
    monkeypatch.setenv("POINTMILL_API_KEY", running.api.key or "")

    async def run(*arguments: str) -> str:
        assert await asyncio.to_thread(main, arguments) == 0
        return capsys.readouterr().out

    said = await run("kind", "demo.print", "--pause", "--starts", "5")
    assert "demo.print: paused, at most 5 starts a minute." in said
    assert "(paused)" in await run("kinds")
    said = await run("kind", "demo.print", "--resume", "--starts", "none")
    assert "demo.print: not paused, no limit of starts." in said
    said = await run("workspace", str(OTHER_WORKSPACE), "--weight", "7", "--max-running", "4")
    assert "7" in said.splitlines()[-1]
    assert '"max_running": 4' in await run("workspaces", "--json")
    await run("workspace", str(OTHER_WORKSPACE), "--max-running", "none")
    assert '"max_running": 4' not in await run("workspaces", "--json")

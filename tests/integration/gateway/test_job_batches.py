"""Jobs cancelled and retried by filter, over HTTP and by the command."""

import asyncio
import uuid
from typing import Any

import orjson
import pytest

from services.gateway.client.__main__ import main
from tests.integration.gateway.conftest import Api, Running

PRINT = {"kind": "demo.print", "params": {"first": "a"}}
ERROR = {"code": "worker_lost", "title": "t", "detail": "d", "remedy": "r"}


@pytest.fixture(autouse=True)
async def alone(running: Running) -> None:
    """Each test begins without jobs."""
    async with running.database.connected() as connection:
        await connection.execute("delete from jobs")


async def make(api: Api, count: int, **more: Any) -> list[str]:
    return [(await api.make("/v1/jobs", **{**PRINT, **more}))["id"] for _ in range(count)]


async def fail(running: Running, code: str = "worker_lost") -> None:
    """Let the next job fail for good."""
    job = await running.claim()
    error = orjson.dumps({**ERROR, "code": code}).decode()
    async with running.database.connected("processor") as connection:
        await connection.execute(
            "select fail_job($1, $2, $3, false, null)", job["id"], job["attempt"], error
        )


async def states(api: Api) -> list[str]:
    return sorted(job["state"] for job in (await api("GET", "/v1/jobs?limit=200")).json["items"])


async def ask(api: Api, what: str, **wanted: Any) -> tuple[int, int, int]:
    answer = await api("POST", f"/v1/jobs/{what}", json=wanted)
    assert answer.status == 202, answer.body
    return answer.json["matched"], answer.json["done"], answer.json["left"]


async def test_many_jobs_are_cancelled_batch_by_batch_until_none_is_left(api: Api) -> None:
    await make(api, 5)
    assert await ask(api, "cancel", kind="demo.print", limit=0) == (5, 0, 5)
    assert await ask(api, "cancel", kind="demo.print", limit=3) == (5, 3, 2)
    assert await ask(api, "cancel", kind="demo.print", limit=3) == (2, 2, 0)
    assert await ask(api, "cancel", kind="demo.print") == (0, 0, 0)
    assert await states(api) == ["cancelled"] * 5


async def test_a_running_job_that_is_meant_is_asked_to_stop_once(running: Running) -> None:
    api = running.api
    await make(api, 2)
    await running.claim()
    assert await ask(api, "cancel", state="running") == (1, 1, 0)
    assert await ask(api, "cancel", state="running") == (0, 0, 0)
    assert await states(api) == ["queued", "running"]


async def test_only_what_fits_everything_that_is_named_is_meant(running: Running) -> None:
    api = running.api
    project = await api.make("/v1/projects", name=uuid.uuid4().hex)
    made = (await api("POST", f"/v1/clouds?name=a.laz&project={project['id']}", data=b"LASF")).json
    cloud = made["cloud"]["id"]
    await make(api, 1, kind="file.checksum", cloud=cloud, params={})
    first = (await api("GET", f"/v1/jobs/{(await make(api, 1))[0]}")).json["created_at"]
    for wanted, count in (
        ({"project": project["id"]}, 2),
        ({"cloud": cloud}, 2),
        ({"cloud": cloud, "kind": "file.checksum"}, 1),
        ({"cloud": cloud, "kind": "demo.print"}, 0),
        ({"created_before": first}, 2),
        ({"created_after": first}, 1),
        ({"error_code": "worker_lost"}, 0),
        ({"cloud": str(uuid.uuid4())}, 0),
    ):
        assert (await ask(api, "cancel", **wanted, limit=0))[0] == count, wanted


async def test_failed_jobs_are_retried_by_their_code_and_none_twice(running: Running) -> None:
    api = running.api
    await make(api, 3)
    for code in ("worker_lost", "worker_lost", "bad_file"):
        await fail(running, code)
    assert await ask(api, "retry", error_code="worker_lost", limit=1) == (2, 1, 1)
    assert await ask(api, "retry", error_code="worker_lost", limit=1) == (1, 1, 0)
    assert await ask(api, "retry", error_code="worker_lost") == (0, 0, 0)
    assert await states(api) == ["failed"] * 3 + ["queued"] * 2


async def test_a_new_job_that_fails_is_not_meant_by_the_same_sweep(running: Running) -> None:
    api = running.api
    await make(api, 1)
    await fail(running)
    answer = (await api("POST", "/v1/jobs/retry", json={"state": "failed"})).json
    await fail(running)
    assert await ask(api, "retry", state="failed", created_before=answer["as_of"]) == (0, 0, 0)
    assert await ask(api, "retry", state="failed") == (1, 1, 0)


async def test_two_that_retry_the_same_jobs_at_once_retry_each_once(running: Running) -> None:
    api = running.api
    await make(api, 6)
    for _ in range(6):
        await fail(running)
    await asyncio.gather(*(ask(api, "retry", state="failed") for _ in range(4)))
    assert await states(api) == ["failed"] * 6 + ["queued"] * 6


@pytest.mark.parametrize(
    ("what", "wanted", "field"),
    [
        ("cancel", {}, []),
        ("cancel", {"limit": 10}, []),
        ("cancel", {"state": "failed"}, ["state"]),
        ("retry", {"state": "queued"}, ["state"]),
        ("retry", {"state": "failed", "limit": 1001}, ["limit"]),
        ("retry", {"created_after": "2026-01-01T00:00:00"}, ["created_after"]),
        ("retry", {"error_code": "DROP TABLE"}, ["error_code"]),
        ("cancel", {"kinds": ["a"]}, ["kinds"]),
    ],
)
async def test_a_filter_that_means_nothing_or_everything_is_refused(
    api: Api, what: str, wanted: Any, field: list[str]
) -> None:
    await make(api, 1)
    answer = await api("POST", f"/v1/jobs/{what}", json=wanted)
    assert answer.problem == (422, "invalid_request", field)
    assert await states(api) == ["queued"]


async def test_nothing_of_another_workspace_is_meant(running: Running) -> None:
    await make(running.other, 2)
    assert await ask(running.api, "cancel", state="queued") == (0, 0, 0)
    assert await states(running.other) == ["queued"] * 2


async def test_the_command_goes_on_until_none_is_left(
    running: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POINTMILL_URL", running.api.base)
    monkeypatch.setenv("POINTMILL_API_KEY", running.api.key or "")
    await make(running.api, 3)
    command = ["cancel", "--kind", "demo.print", "--state", "queued"]
    assert await asyncio.to_thread(main, command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Cancelled: 3 jobs."
    assert await asyncio.to_thread(main, ["retry", "--kind", "demo.print", "--json"]) == 0
    assert capsys.readouterr().out.endswith('{\n  "done": 3\n}\n')
    assert await states(running.api) == ["cancelled"] * 3 + ["queued"] * 3

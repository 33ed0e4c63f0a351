"""Jobs and kinds over HTTP, on real Postgres."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.integration.gateway.conftest import KINDS, Api, Running

PRINT = {"kind": "demo.print", "params": {"first": "a"}}


async def test_kinds_are_told_with_the_schema_of_their_parameters(api: Api) -> None:
    kinds = (await api("GET", "/v1/kinds")).json
    assert [kind["kind"] for kind in kinds["items"]] == sorted(KINDS)
    assert kinds["next"] is None
    kind = (await api("GET", "/v1/kinds/demo.print")).json
    assert kind["params_schema"]["required"] == ["first"]
    assert (kind["limits"]["attempts"], kind["limits"]["total_seconds"]) == (3, None)
    assert (await api("GET", "/v1/kinds/no.such")).problem == (404, "kind_not_found", [])


async def test_a_job_of_any_kind_is_accepted(api: Api) -> None:
    answer = await api("POST", "/v1/jobs", json={**PRINT, "priority": 5})
    assert answer.status == 202
    job = answer.json
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["attempt"], job["priority"]) == ("queued", 0, 5)
    assert job["start_by"] > job["available_at"]
    assert job["end_by"] is None
    assert (job["progress"], job["error"], job["result"], job["cloud"]) == (None,) * 4
    assert (await api("GET", f"/v1/jobs/{job['id']}")).json == job


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ({"kind": "no.such"}, (422, "unknown_kind", ["kind"])),
        ({"kind": "No Such"}, (422, "invalid_request", ["kind"])),
        ({"params": {}}, (422, "invalid_request", ["kind"])),
        ({"kind": "demo.print"}, (422, "invalid_request", ["params.first"])),
        (
            {"kind": "demo.print", "params": {"first": 1, "second": "x"}},
            (422, "invalid_request", ["params.first", "params.second"]),
        ),
        (
            {"kind": "demo.print", "params": {"first": "a", "third": 1}},
            (422, "invalid_request", ["params.third"]),
        ),
        (
            {"kind": "demo.print", "params": {"first": "a\x00"}},
            (422, "invalid_request", ["params"]),
        ),
        ({**PRINT, "priority": 101}, (422, "invalid_request", ["priority"])),
        ({**PRINT, "when": "now"}, (422, "invalid_request", ["when"])),
        ({**PRINT, "cloud": str(uuid.UUID(int=1))}, (404, "cloud_not_found", ["cloud"])),
        ({"kind": "file.checksum"}, (422, "invalid_request", ["cloud"])),
    ],
)
async def test_a_wrong_order_is_refused_and_its_field_named(
    api: Api, order: dict[str, Any], problem: Any
) -> None:
    before = (await api("GET", "/v1/jobs?limit=1")).json
    assert (await api("POST", "/v1/jobs", json=order)).problem == problem
    assert (await api("GET", "/v1/jobs?limit=1")).json == before


async def test_a_kind_that_works_on_a_file_wants_one(api: Api) -> None:
    cloud = await api.make("/v1/clouds", name="without")
    order = {"kind": "file.checksum", "cloud": cloud["id"]}
    assert (await api("POST", "/v1/jobs", json=order)).problem == (409, "cloud_empty", ["cloud"])


async def test_the_same_order_under_a_key_is_the_same_job_even_at_once(api: Api) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    answers = await asyncio.gather(
        *(api("POST", "/v1/jobs", json=PRINT, headers=headers) for _ in range(8))
    )
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    different = {**PRINT, "params": {"first": "b"}}
    reused = await api("POST", "/v1/jobs", json=different, headers=headers)
    assert reused.problem == (422, "idempotency_key_reused", ["Idempotency-Key"])


@pytest.mark.parametrize("key", ["", "x" * 256, "a b"])
async def test_an_idempotency_key_has_a_form(api: Api, key: str) -> None:
    answer = await api("POST", "/v1/jobs", json=PRINT, headers={"Idempotency-Key": key})
    assert answer.problem == (422, "invalid_request", ["Idempotency-Key"])


async def test_a_waiting_job_is_cancelled_at_once_and_can_be_retried(api: Api) -> None:
    job = await api.make("/v1/jobs", **PRINT)
    path = f"/v1/jobs/{job['id']}"
    early = await api("POST", f"{path}/retry")
    assert early.problem == (409, "job_not_retryable", [])
    for _ in range(2):
        cancelled = await api("POST", f"{path}/cancel")
        assert (cancelled.status, cancelled.json["state"]) == (202, "cancelled")
    again = await api("POST", f"{path}/retry")
    assert again.status == 202
    assert (again.json["retry_of"], again.json["state"]) == (job["id"], "queued")
    assert again.json["params"] == job["params"]


async def test_a_running_job_is_asked_to_stop_and_an_ended_one_is_not(running: Running) -> None:
    api = running.api
    job = await api.make("/v1/jobs", **PRINT, priority=100)
    claimed = await running.claim()
    assert str(claimed["id"]) == job["id"]
    asked = await api("POST", f"/v1/jobs/{job['id']}/cancel")
    assert (asked.status, asked.json["state"]) == (202, "running")
    assert asked.json["cancel_requested_at"] is not None
    job = await api.make("/v1/jobs", **PRINT, priority=100)
    await running.finish(await running.claim(), {"printed": "a"})
    ended = await api("GET", f"/v1/jobs/{job['id']}")
    assert (ended.json["state"], ended.json["result"]) == ("succeeded", {"printed": "a"})
    for what, code in (("cancel", "job_ended"), ("retry", "job_not_retryable")):
        assert (await api("POST", f"/v1/jobs/{job['id']}/{what}")).problem == (409, code, [])


async def test_jobs_are_listed_by_state_kind_and_cloud(api: Api) -> None:
    made = (await api("POST", "/v1/clouds?name=l.laz", data=b"LASF")).json
    cloud, ingest = made["cloud"]["id"], made["job"]["id"]
    checksum = await api.make("/v1/jobs", kind="file.checksum", cloud=cloud)

    async def ids(query: str) -> list[str]:
        return [one["id"] for one in (await api("GET", f"/v1/jobs?{query}")).json["items"]]

    assert await ids(f"cloud={cloud}") == [checksum["id"], ingest]
    assert await ids(f"cloud={cloud}&kind=file.checksum") == [checksum["id"]]
    assert await ids(f"cloud={cloud}&state=running") == []
    for query, field in (("state=done", "state"), ("cloud=x", "cloud"), ("limit=201", "limit")):
        assert (await api("GET", f"/v1/jobs?{query}")).problem == (422, "invalid_request", [field])


async def test_the_callers_trace_travels_with_the_job(running: Running) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    answer = await running.api("POST", "/v1/jobs", json=PRINT, headers={"traceparent": trace})
    async with running.database.connected() as connection:
        kept = await connection.fetchval(
            "select traceparent from jobs where id = $1", uuid.UUID(answer.json["id"])
        )
    assert kept == trace

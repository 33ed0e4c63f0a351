"""Jobs of which a workspace has one at a time, over HTTP."""

import asyncio

from tests.integration.gateway.conftest import Api, Running

ORDER = {"kind": "demo.print", "params": {"first": "a"}}


async def test_the_job_of_a_unique_key_is_the_answer_until_it_has_ended(api: Api) -> None:
    order = {**ORDER, "unique_key": "nightly"}
    answers = await asyncio.gather(*(api("POST", "/v1/jobs", json=order) for _ in range(6)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    job = answers[0].json
    assert job["unique_key"] == "nightly"
    await api("POST", f"/v1/jobs/{job['id']}/cancel")
    assert (await api("POST", "/v1/jobs", json=order)).json["id"] != job["id"]


async def test_a_duplicate_is_refused_where_that_is_wanted(api: Api) -> None:
    order = {**ORDER, "unique_key": "once", "on_duplicate": "refuse"}
    first = await api("POST", "/v1/jobs", json=order)
    assert first.status == 202
    second = await api("POST", "/v1/jobs", json=order)
    assert second.problem == (409, "job_not_unique", ["unique_key"])
    assert first.json["id"] in second.json["detail"]


async def test_a_repeat_under_an_idempotency_key_is_no_duplicate(api: Api) -> None:
    order = {**ORDER, "unique_key": "repeated", "on_duplicate": "refuse"}
    headers = {"Idempotency-Key": "repeated"}
    first = await api("POST", "/v1/jobs", json=order, headers=headers)
    again = await api("POST", "/v1/jobs", json=order, headers=headers)
    assert (again.status, again.json["id"]) == (202, first.json["id"])
    other = {**order, "priority": 1}
    answer = await api("POST", "/v1/jobs", json=other, headers=headers)
    assert answer.problem == (422, "idempotency_key_reused", ["Idempotency-Key"])


async def test_a_unique_key_is_a_workspaces_own(running: Running) -> None:
    order = {**ORDER, "unique_key": "shared", "on_duplicate": "refuse"}
    for api in (running.api, running.other):
        assert (await api("POST", "/v1/jobs", json=order)).status == 202


async def test_an_empty_unique_key_is_refused(api: Api) -> None:
    for bad in ("", "a\x00", "x" * 256):
        answer = await api("POST", "/v1/jobs", json={**ORDER, "unique_key": bad})
        assert answer.problem == (422, "invalid_request", ["unique_key"])

"""Jobs that wait for others, over HTTP."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.integration.gateway.conftest import Api, Running

PRINT = {"kind": "demo.print", "params": {"first": "a"}}
GATHER = {"kind": "demo.gather"}


async def finish(running: Running, job: Any) -> None:
    """End this job well, before all others."""
    async with running.database.connected() as connection:
        await connection.execute("update jobs set priority = 100 where id = $1", job["id"])
    claimed = await running.claim()
    assert str(claimed["id"]) == job["id"]
    await running.finish(claimed, {})


async def read(api: Api, job: Any) -> Any:
    return (await api("GET", f"/v1/jobs/{job['id']}")).json


async def test_a_job_shows_whom_it_waits_for_and_who_waits_for_it(running: Running) -> None:
    api = running.api
    first, second = await api.make("/v1/jobs", **PRINT), await api.make("/v1/jobs", **PRINT)
    assert (first["after"], first["waiting_for"], first["children"]) == ([], [], [])
    inputs = {"left": {"job": second["id"], "product": "copc"}}
    child = await api.make("/v1/jobs", **GATHER, after=[first["id"]], inputs=inputs)
    both = sorted([first["id"], second["id"]])
    assert (child["state"], child["after"], child["waiting_for"]) == ("waiting", both, both)
    assert (child["inputs"], child["children"]) == (inputs, [])
    assert await read(api, child) == child
    assert (await read(api, first))["children"] == [child["id"]]
    listed = (await api("GET", "/v1/jobs?kind=demo.gather&limit=1")).json["items"]
    assert listed == [child]
    await finish(running, first)
    assert (await read(api, child))["waiting_for"] == [second["id"]]
    await finish(running, second)
    released = await read(api, child)
    assert (released["state"], released["waiting_for"], released["after"]) == ("queued", [], both)


async def test_a_cancelled_parent_fails_what_waits_and_both_can_be_retried(api: Api) -> None:
    parent = await api.make("/v1/jobs", **PRINT)
    child = await api.make("/v1/jobs", **PRINT, after=[parent["id"]])
    cancelled = (await api("POST", f"/v1/jobs/{parent['id']}/cancel")).json
    assert (cancelled["state"], cancelled["children"]) == ("cancelled", [child["id"]])
    failed = await read(api, child)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "parent_failed")
    assert parent["id"] in failed["error"]["detail"]
    again = (await api("POST", f"/v1/jobs/{parent['id']}/retry")).json
    waits = (await api("POST", f"/v1/jobs/{child['id']}/retry")).json
    assert (waits["state"], waits["after"]) == ("waiting", [again["id"]])


async def test_a_parent_that_is_not_the_callers_is_as_unknown_as_one_that_is_none(
    api: Api, other: Api
) -> None:
    theirs = (await other.make("/v1/jobs", **PRINT))["id"]
    answers = [
        await api("POST", "/v1/jobs", json={**GATHER, **order})
        for named in (theirs, str(uuid.UUID(int=9)))
        for order in (
            {"after": [named]},
            {"inputs": {"left": {"job": named, "product": "copc"}}},
        )
    ]
    assert answers[0].problem == answers[2].problem == (404, "parent_not_found", ["after.0"])
    assert (
        answers[1].problem == answers[3].problem == (404, "parent_not_found", ["inputs.left.job"])
    )


async def test_another_workspace_sees_no_family(api: Api, other: Api) -> None:
    parent = await api.make("/v1/jobs", **PRINT)
    child = await api.make("/v1/jobs", **PRINT, after=[parent["id"]])
    for job in (parent, child):
        assert (await other("GET", f"/v1/jobs/{job['id']}")).problem == (404, "job_not_found", [])
    assert child["id"] not in (await other("GET", "/v1/jobs?limit=200")).body.decode()


@pytest.mark.parametrize(
    ("order", "fields"),
    [
        ({**PRINT, "after": ["x"]}, ["after.0"]),
        ({**PRINT, "after": "x"}, ["after"]),
        ({**GATHER, "inputs": {"Left": {"job": "J", "product": "copc"}}}, ["inputs.Left.[key]"]),
        ({**GATHER, "inputs": {"left": {"job": "J"}}}, ["inputs.left.product"]),
        ({**GATHER, "inputs": {"left": {"job": "J", "product": "../x"}}}, ["inputs.left.product"]),
        ({**PRINT, "inputs": {"left": {"job": "J", "product": "copc"}}}, ["inputs.left"]),
        ({**PRINT, "after": ["J"], "unique_key": "k"}, ["unique_key"]),
    ],
)
async def test_a_wrong_order_is_refused_and_its_field_named(
    api: Api, order: dict[str, Any], fields: list[str]
) -> None:
    job = (await api.make("/v1/jobs", **PRINT))["id"]
    text = str(order).replace("'J'", f"'{job}'").replace("'", '"')
    answer = await api("POST", "/v1/jobs", data=text, headers={"Content-Type": "application/json"})
    assert answer.problem == (422, "invalid_request", fields)


async def test_a_kind_says_which_inputs_it_takes(api: Api) -> None:
    assert (await api("GET", "/v1/kinds/demo.gather")).json["inputs"] == ["*"]
    cloud = (await api("POST", "/v1/clouds?name=l.laz", data=b"LASF")).json["cloud"]["id"]
    job = (await api.make("/v1/jobs", **PRINT))["id"]
    order = {"kind": "file.checksum", "cloud": cloud}
    one = {"job": job, "product": "copc"}
    refused = await api("POST", "/v1/jobs", json={**order, "inputs": {"left": one}})
    assert refused.problem == (422, "invalid_request", ["inputs.left"])
    assert "it takes other" in refused.json["detail"]
    await api.make("/v1/jobs", **order, inputs={"other": one})


async def test_more_than_a_hundred_parents_are_refused(api: Api) -> None:
    jobs = [(await api.make("/v1/jobs", **PRINT))["id"] for _ in range(101)]
    answer = await api("POST", "/v1/jobs", json={**PRINT, "after": jobs})
    assert answer.problem == (422, "too_many_parents", ["after"])
    await api.make("/v1/jobs", **PRINT, after=[*jobs[:100], jobs[0]])


async def test_a_chain_has_an_end(api: Api) -> None:
    last = (await api.make("/v1/jobs", **PRINT))["id"]
    for _ in range(100):
        last = (await api.make("/v1/jobs", **PRINT, after=[last]))["id"]
    answer = await api("POST", "/v1/jobs", json={**PRINT, "after": [last]})
    assert answer.problem == (422, "pipeline_too_long", ["after.0"])


async def test_the_same_order_under_a_key_is_the_same_job_even_at_once(api: Api) -> None:
    parent = (await api.make("/v1/jobs", **PRINT))["id"]
    order = {**PRINT, "after": [parent]}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    answers = await asyncio.gather(
        *(api("POST", "/v1/jobs", json=order, headers=headers) for _ in range(8))
    )
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    reused = await api("POST", "/v1/jobs", json=PRINT, headers=headers)
    assert reused.problem == (422, "idempotency_key_reused", ["Idempotency-Key"])


async def test_the_events_of_a_pipelines_job_do_not_pretend_to_know_its_family(
    running: Running,
) -> None:
    parent = await running.api.make("/v1/jobs", **PRINT)
    child = await running.api.make("/v1/jobs", **PRINT, after=[parent["id"]])
    await running.api("POST", f"/v1/jobs/{child['id']}/cancel")
    answer = await running.api("GET", f"/v1/jobs/{child['id']}/events")
    assert b'"after":null' in answer.body.replace(b" ", b"")

"""Job events as a stream: complete, resumable, quick where the bus helps, ended where the job is."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any

import orjson
import pytest

from shared import topology
from shared.bus import Bus, Delivery, Outgoing
from shared.messages import wrap
from shared.messages.jobs import JobProgressV1
from shared.messages.work import CancelAskedV1
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.broker import Broker
from tests.fixtures.processors import eventually
from tests.integration.gateway.conftest import Api, Running

PRINT = {"kind": "demo.print", "params": {"first": "a"}, "priority": 100}
Event = tuple[str | None, str, dict[str, Any]]


async def follow(api: Api, job: str, last: str | None = None) -> AsyncGenerator[Event, None]:
    """The events of a stream until it ends."""
    headers = {"Authorization": f"Bearer {api.key}"}
    if last is not None:
        headers["Last-Event-ID"] = last
    async with api.session.get(f"{api.base}/v1/jobs/{job}/events", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in response.content:
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif "event" in fields:
                yield fields.get("id"), fields["event"], orjson.loads(fields["data"])
                fields = {}


async def collect(api: Api, job: str, last: str | None = None) -> list[Event]:
    async with asyncio.timeout(15):
        return [event async for event in follow(api, job, last)]


async def test_the_whole_life_of_a_job_is_told_in_order(running: Running) -> None:
    job = await running.api.make("/v1/jobs", **PRINT)
    following = asyncio.create_task(collect(running.api, job["id"]))
    await asyncio.sleep(0.3)
    await running.finish(await running.claim(), {"printed": "a"})
    events = await following
    assert [name for _, name, _ in events] == ["queued", "started", "succeeded"]
    assert [data["state"] for _, _, data in events] == ["queued", "running", "succeeded"]
    assert [data["attempt"] for _, _, data in events] == [0, 1, 1]
    assert events[0][2]["started_at"] is None
    assert events[1][2]["ended_at"] is None
    assert events[-1][2]["result"] == {"printed": "a"}
    assert events[-1][2] == (await running.api("GET", f"/v1/jobs/{job['id']}")).json


async def test_a_stream_resumes_behind_the_last_event_seen(running: Running) -> None:
    job = await running.api.make("/v1/jobs", **PRINT)
    await running.finish(await running.claim(), {})
    whole = await collect(running.api, job["id"])
    ids = [identity for identity, _, _ in whole]
    assert await collect(running.api, job["id"], ids[0]) == whole[1:]
    assert await collect(running.api, job["id"], ids[-1]) == []
    assert await collect(running.api, job["id"], "999999") == []


@pytest.mark.parametrize("last", ["-1", "x", "99999999999999999999", ""])
async def test_a_made_up_event_id_is_refused(api: Api, last: str) -> None:
    job = await api.make("/v1/jobs", **PRINT)
    path = f"/v1/jobs/{job['id']}/events"
    answer = await api("GET", path, headers={"Last-Event-ID": last})
    assert answer.problem == (422, "invalid_request", ["Last-Event-ID"])
    await api("POST", f"/v1/jobs/{job['id']}/cancel")


async def test_an_unknown_job_has_no_stream(api: Api) -> None:
    answer = await api("GET", f"/v1/jobs/{uuid.UUID(int=3)}/events")
    assert answer.problem == (404, "job_not_found", [])


async def test_a_cancelled_job_says_so_and_ends_the_stream(api: Api) -> None:
    job = await api.make("/v1/jobs", **PRINT)
    await api("POST", f"/v1/jobs/{job['id']}/cancel")
    assert [name for _, name, _ in await collect(api, job["id"])] == ["queued", "cancelled"]


@pytest.fixture
async def processor_bus(module_broker: Broker) -> AsyncIterator[Bus]:
    bus = Bus(
        module_broker.url("processor"),
        service="processor",
        instance="test",
        version="0",
        exchanges=(topology.EVENTS, topology.PROGRESS),
    )
    tasks = [asyncio.create_task(loop) for loop in bus.loops().values()]
    async with asyncio.timeout(10):
        while not bus.publisher.ready:
            await asyncio.sleep(0.02)
    yield bus
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.close()


async def test_progress_and_the_end_arrive_at_once_over_the_bus(
    running: Running, processor_bus: Bus
) -> None:
    job = await running.api.make("/v1/jobs", **PRINT)
    claimed = await running.claim()
    stream = follow(running.api, job["id"])
    async with asyncio.timeout(15):
        assert [(await anext(stream))[1] for _ in range(2)] == ["queued", "started"]
        await asyncio.sleep(0.1)
        delays = []
        for fraction in (0.25, 0.5):
            message = JobProgressV1(
                job_id=claimed["id"],
                workspace_id=claimed["workspace_id"],
                attempt=1,
                stage="print",
                fraction=fraction,
                eta_seconds=8 * (1 - fraction),
            )
            envelope = wrap(message, service="processor", subject=job["id"])
            sent = time.monotonic()
            await processor_bus.publisher.hint(
                Outgoing(topology.PROGRESS, f"progress.{job['id']}", envelope, mandatory=False)
            )
            identity, name, data = await anext(stream)
            delays.append(time.monotonic() - sent)
            assert (identity, name) == (None, "progress")
            assert data["progress"] == {
                "stage": "print",
                "fraction": fraction,
                "message": "",
                "eta_seconds": 8 * (1 - fraction),
            }
        # Without the bus the stream looks every two seconds.
        assert max(delays) < 1
        await running.finish(claimed, {})
        assert [event[1] async for event in stream] == ["succeeded"]


async def test_progress_in_the_row_is_shown_without_the_bus(running: Running) -> None:
    job = await running.api.make("/v1/jobs", **PRINT)
    claimed = await running.claim()
    following = asyncio.create_task(collect(running.api, job["id"]))
    async with running.database.connected("processor") as connection:
        await connection.execute(
            """update jobs set progress = '{"stage": "s", "fraction": 0.1, "message": "m"}'
            where id = $1""",
            claimed["id"],
        )
    await asyncio.sleep(2.5)
    await running.finish(claimed, {})
    events = await following
    assert [name for _, name, _ in events] == ["queued", "started", "progress", "succeeded"]


async def test_of_what_was_left_when_progress_was_stored_time_has_passed(running: Running) -> None:
    job = await running.api.make("/v1/jobs", **PRINT)
    claimed = await running.claim()
    progress = {"stage": "s", "fraction": 0.1, "message": "m", "eta_seconds": 60.0}
    async with running.database.connected("processor") as connection:
        for ago, left in (("20 s", 40), ("90 s", 0)):
            await connection.execute(
                """update jobs set progress =
                $2::jsonb || jsonb_build_object('told_at', now() - $3::text::interval) where id = $1""",
                claimed["id"],
                orjson.dumps(progress).decode(),
                ago,
            )
            told = (await running.api("GET", f"/v1/jobs/{job['id']}")).json["progress"]
            assert told.keys() == progress.keys()
            assert told["eta_seconds"] == pytest.approx(left, abs=5)
            listed = (await running.api("GET", "/v1/jobs?limit=1")).json["items"][0]["progress"]
            assert listed["eta_seconds"] == pytest.approx(left, abs=5)
    await running.finish(claimed, {})


async def test_a_client_that_leaves_is_forgotten(running: Running) -> None:
    job = await running.api.make("/v1/jobs", **PRINT)
    stream = follow(running.api, job["id"])
    await anext(stream)
    await stream.aclose()
    await running.api("POST", f"/v1/jobs/{job['id']}/cancel")
    async with asyncio.timeout(10):
        while running.gateway.live.listening:
            await asyncio.sleep(0.05)


async def test_the_bus_is_heard_only_of_workspaces_that_somebody_here_listens_to(
    running: Running, module_broker: Broker
) -> None:
    async def heard() -> set[str]:
        path = f"bindings/{module_broker.path}"
        bound = (await module_broker.api("GET", path)).json()
        return {
            one["routing_key"]
            for one in bound
            if one["source"] and one["destination"].startswith("gateway.live.")
        }

    assert await heard() == set()
    job = await running.api.make("/v1/jobs", **PRINT)
    stream = follow(running.api, job["id"])
    await anext(stream)
    wanted = {f"{DEFAULT_WORKSPACE}.job.#", "progress.*"}
    await eventually(lambda: _is(heard(), wanted))
    await running.api("POST", f"/v1/jobs/{job['id']}/cancel")
    await stream.aclose()
    await eventually(lambda: _is(heard(), set()))


async def _is(found: Awaitable[set[str]], expected: set[str]) -> bool:
    return await found == expected


async def test_the_worker_hears_at_once_that_its_job_is_to_be_cancelled(
    running: Running, module_broker: Broker
) -> None:
    bus = Bus(
        module_broker.url("processor"),
        service="processor",
        instance="test",
        version="0",
        exchanges=(topology.EVENTS,),
    )
    heard: asyncio.Queue[Delivery] = asyncio.Queue()
    listening = asyncio.Event()
    listen = bus.consumer.listen(
        "processor.control", [(topology.CONTROL, "")], heard.put, listening.set
    )
    tasks = [asyncio.create_task(loop) for loop in (*bus.loops().values(), listen)]
    try:
        async with asyncio.timeout(15):
            await listening.wait()
            job = await running.api.make("/v1/jobs", **PRINT)
            assert str((await running.claim())["id"]) == job["id"]
            asked = await running.api("POST", f"/v1/jobs/{job['id']}/cancel")
            assert asked.json["state"] == "running"
            message = (await heard.get()).read()
        assert message == CancelAskedV1(job_id=uuid.UUID(job["id"]))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()

"""What happens in a workspace, over WebSockets and streams: whole, in order, resumable, bounded."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest

from services.gateway import feed as feeds
from services.gateway.feed import Place
from services.gateway.routes import live
from shared import topology
from shared.bus import Bus, Outgoing
from shared.messages import wrap
from shared.messages.jobs import JobProgressV1
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.broker import Broker
from tests.integration.gateway.conftest import Api, Running
from tests.integration.gateway.test_events import processor_bus

__all__ = ["processor_bus"]
PRINT = {"kind": "demo.print", "params": {"first": "a"}, "priority": 100}


class Tab:
    """A client's WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.cursor = ""
        self.since: datetime | None = None

    async def order(self, after: str | None = None, **subscribe: Any) -> None:
        # What happened just before may come too, when an older transaction still runs somewhere.
        self.since = datetime.now(UTC) if after is None else None
        await self.socket.send_json(
            {"subscribe": subscribe} | ({} if after is None else {"after": after})
        )

    async def next(self, seconds: float = 10) -> Any:
        event = orjson.loads((await self.socket.receive(timeout=seconds)).data)
        self.cursor = event.get("cursor", self.cursor)
        if self.since is not None and datetime.fromisoformat(event["time"]) < self.since:
            return await self.next(seconds)
        return event

    async def subscribed(self, after: str | None = None, **subscribe: Any) -> "Tab":
        await self.order(after, **subscribe)
        while (await self.next())["type"] != "pointmill.live.subscribed.v1":
            pass
        return self

    async def until(self, kind: str) -> list[tuple[str, str]]:
        """Job and type of each event up to the first of this kind."""
        found: list[tuple[str, str]] = []
        while not found or found[-1][1] != kind:
            event = await self.next()
            found.append((event.get("subject", ""), event["type"].split(".")[-2]))
        return found

    async def closed(self, seconds: float = 10) -> int | None:
        """The code it is closed with, whatever comes before."""
        async with asyncio.timeout(seconds):
            while (await self.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        return self.socket.close_code


@asynccontextmanager
async def tab(api: Api, **options: Any) -> AsyncIterator[Tab]:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with api.session.ws_connect(
        f"{api.base}/v1/live", headers=headers, protocols=("cloudevents.json",), **options
    ) as socket:
        yield Tab(socket)


async def print_once(running: Running) -> str:
    job = await running.api.make("/v1/jobs", **PRINT)
    await running.finish(await running.claim(), {"printed": "a"})
    return str(job["id"])


async def test_a_tab_hears_its_workspace_and_no_other(running: Running) -> None:
    async with tab(running.api) as mine, tab(running.other) as theirs:
        await mine.subscribed()
        await theirs.subscribed()
        job = await print_once(running)
        assert await mine.until("succeeded") == [
            (job, "queued"),
            (job, "started"),
            (job, "succeeded"),
        ]
        with pytest.raises(TimeoutError):
            await theirs.next(0.5)


async def test_each_event_is_the_cloudevent_that_the_bus_and_webhooks_carry(
    running: Running,
) -> None:
    async with tab(running.api) as mine:
        await mine.subscribed()
        job = await print_once(running)
        events = [await mine.next() for _ in range(3)]
    stored = await running.gateway.database.rows(
        "read_job_events", DEFAULT_WORKSPACE, uuid.UUID(job), 0
    )
    cursors = [event.pop("cursor") for event in events]
    assert events == [row["message"] for row in stored]
    assert sorted(map(Place.of, cursors)) == list(map(Place.of, cursors))


async def test_a_tab_goes_on_where_it_was(running: Running) -> None:
    async with tab(running.api) as first:
        await first.subscribed()
        await print_once(running)
        start = (await first.next())["cursor"]
        rest = [await first.next(), await first.next()]
    more = await print_once(running)  # while nobody was connected
    async with tab(running.api) as second:
        await second.order(after=start)
        assert [await second.next(), await second.next()] == rest
        assert {job for job, _ in await second.until("succeeded")} == {more}
        assert (await second.next())["type"] == "pointmill.live.subscribed.v1"


async def test_only_what_is_wanted_comes(running: Running) -> None:
    made = (await running.api("POST", "/v1/clouds?name=a.laz", data=b"LASF")).json
    wanted = await running.api.make("/v1/jobs", **PRINT)
    async with tab(running.api) as by_job, tab(running.api) as by_cloud, tab(running.api) as none:
        await by_job.subscribed(jobs=[wanted["id"]])
        await by_cloud.subscribed(clouds=[made["cloud"]["id"]])
        await none.subscribed(jobs=[])
        await running.api("POST", f"/v1/jobs/{made['job']['id']}/cancel")
        await running.api("POST", f"/v1/jobs/{wanted['id']}/cancel")
        assert await by_job.until("cancelled") == [(wanted["id"], "cancelled")]
        assert await by_cloud.until("cancelled") == [(made["job"]["id"], "cancelled")]
        with pytest.raises(TimeoutError):
            await none.next(0.3)
        await running.api("DELETE", f"/v1/clouds/{made['cloud']['id']}")


async def test_a_tab_may_change_what_it_wants(running: Running) -> None:
    first, second = [await running.api.make("/v1/jobs", **PRINT) for _ in range(2)]
    async with tab(running.api) as mine:
        await mine.subscribed(jobs=[first["id"]])
        await mine.subscribed(jobs=[second["id"]])
        for job in (first, second):
            await running.api("POST", f"/v1/jobs/{job['id']}/cancel")
        assert await mine.until("cancelled") == [(second["id"], "cancelled")]


async def test_an_event_that_commits_late_is_not_skipped(running: Running) -> None:
    """Its transaction began first, so its number is lower than that of what was there before it."""
    early, late = [await running.api.make("/v1/jobs", **PRINT) for _ in range(2)]
    async with tab(running.api) as mine, running.database.connected("gateway") as connection:
        await mine.subscribed()
        async with connection.transaction():
            await connection.execute(
                "select cancel_job($1, $2)", DEFAULT_WORKSPACE, uuid.UUID(late["id"])
            )
            await running.api("POST", f"/v1/jobs/{early['id']}/cancel")
            # The one that is there must wait: a cursor behind it would pass over the other.
            with pytest.raises(TimeoutError):
                await mine.next(1)
    # `mine` was cut by the time-out above; whoever goes on from its cursor hears both.
    async with tab(running.api) as again:
        await again.order(after=mine.cursor)
        heard = [await again.next(), await again.next()]
        assert [event["subject"] for event in heard] == [late["id"], early["id"]]


async def test_many_commits_at_once_are_each_heard_once_by_every_tab(running: Running) -> None:
    """Tabs that come, go and come back while 20 writers commit: all of it, in one order."""
    heard: list[list[str]] = []

    async def follow(pauses: float) -> None:
        events: list[str] = []
        cursor: str | None = start
        while len(events) < 200:
            async with tab(running.api) as mine:
                await mine.order(after=cursor)
                for _ in range(37):
                    event = await mine.next()
                    if event["type"].endswith("queued.v1"):
                        events.append(event["id"])
                    cursor = mine.cursor
                    if len(events) == 200:
                        break
            await asyncio.sleep(pauses)
        heard.append(events)

    async with tab(running.api) as now:
        await now.subscribed()
        start = now.cursor

    async def write() -> None:
        for _ in range(10):
            await running.api.make("/v1/jobs", **PRINT)

    async with asyncio.timeout(60):
        await asyncio.gather(*(write() for _ in range(20)), *(follow(at / 50) for at in range(4)))
    assert len(set(heard[0])) == 200
    assert heard[1:] == [heard[0]] * 3
    await running.api("POST", "/v1/jobs/cancel", json={"kind": "demo.print"})


async def test_progress_is_heard_over_the_bus_and_has_no_cursor(
    running: Running, processor_bus: Bus
) -> None:
    made = (await running.api("POST", "/v1/clouds?name=p.laz", data=b"LASF")).json
    job, cloud = made["job"]["id"], made["cloud"]["id"]
    async with tab(running.api) as mine, tab(running.api) as other:
        await mine.subscribed(clouds=[cloud])
        await other.subscribed(jobs=[str(uuid.uuid4())])
        await asyncio.sleep(0.3)  # the binding
        message = JobProgressV1(
            job_id=job, workspace_id=DEFAULT_WORKSPACE, attempt=1, stage="s", fraction=0.5
        )
        envelope = wrap(message, service="processor", subject=job)
        await processor_bus.publisher.hint(
            Outgoing(topology.PROGRESS, f"progress.{job}", envelope, mandatory=False)
        )
        event = await mine.next()
        assert event == envelope
        assert event["data"]["fraction"] == 0.5
        with pytest.raises(TimeoutError):
            await other.next(0.3)
    await running.api("DELETE", f"/v1/clouds/{cloud}")


async def test_a_browser_gives_its_key_as_a_subprotocol(running: Running) -> None:
    protocols = ("cloudevents.json", f"bearer.{running.api.key}")
    url = f"{running.api.base}/v1/live"
    async with running.api.session.ws_connect(url, protocols=protocols) as socket:
        assert socket.protocol == "cloudevents.json"  # the key is not said back
        await Tab(socket).subscribed()
    for wrong in ((), ("bearer.pm_x",), ("cloudevents.json",)):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await running.api.session.ws_connect(url, protocols=wrong)


async def test_whoever_speaks_no_websocket_is_told_so(api: Api) -> None:
    answer = await api("GET", "/v1/live")
    assert answer.problem == (426, "upgrade_required", [])
    assert answer.headers["Upgrade"] == "websocket"


@pytest.mark.parametrize(
    "frame",
    [
        *("x", "{}", '{"subscribe": {"job": []}}', '{"subscribe": {"jobs": ["x"]}}', "[]", b"{}"),
        *('{"subscribe": {}, "after": "0"}', '{"subscribe": {}, "after": "ffffffffffffff-0"}'),
        '{"subscribe": {}, "after": "00-1"}',
    ],
)
async def test_a_frame_that_makes_no_sense_ends_it(running: Running, frame: str | bytes) -> None:
    async with tab(running.api) as mine:
        await (
            mine.socket.send_bytes(frame)
            if isinstance(frame, bytes)
            else mine.socket.send_str(frame)
        )
        assert await mine.closed() == live.BAD_ORDER


async def test_a_tab_that_wants_nothing_is_not_kept(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FIRST_ORDER_SECONDS", 0.2)
    async with tab(running.api) as mine:
        assert await mine.closed() == live.BAD_ORDER


async def test_a_heartbeat_says_where_to_go_on_and_looks_at_the_key(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.3)
    async with tab(running.api) as mine:
        await mine.subscribed(jobs=[])
        before = mine.cursor
        await print_once(running)
        await asyncio.sleep(0.2)
        for _ in range(2):
            beat = await mine.next()
            assert beat["type"] == "pointmill.live.heartbeat.v1"
        assert Place.of(mine.cursor) > Place.of(before)

        async def nobody(_key: str) -> None:
            return None

        monkeypatch.setattr(running.gateway.keys, "find", nobody)
        assert await mine.closed() == live.KEY_REVOKED


async def test_a_slow_reader_is_sent_away_and_loses_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "BUFFER_FRAMES", 5)
    async with tab(running.api) as mine:
        await mine.subscribed()
        start = mine.cursor
        # Its writer is stuck, as behind a full socket.
        stuck = asyncio.Event()

        async def wait(*_: Any) -> None:
            await stuck.wait()

        sending = live._Socket._write
        monkeypatch.setattr(live._Socket, "_write", wait)
        jobs = [(await running.api.make("/v1/jobs", **PRINT))["id"] for _ in range(12)]
        await asyncio.sleep(0.5)
        monkeypatch.setattr(live._Socket, "_write", sending)
        stuck.set()
        assert await mine.closed() == live.SLOW_READER
    async with tab(running.api) as again:
        await again.subscribed(after=start)
        # What was sent before is known by its cursor; here: everything since the start.
        await again.order(after=start)
        assert [(await again.next())["subject"] for _ in jobs] == jobs
    await running.api("POST", "/v1/jobs/cancel", json={"kind": "demo.print"})


async def test_a_stream_for_scripts_tells_the_same(running: Running) -> None:
    headers = {"Authorization": f"Bearer {running.api.key}"}
    url = f"{running.api.base}/v1/events"

    async def read(last: str | None, count: int) -> list[tuple[str, str]]:
        given = headers | ({} if last is None else {"Last-Event-ID": last})
        found: list[tuple[str, str]] = []
        identity = ""
        async with asyncio.timeout(15), running.api.session.get(url, headers=given) as response:
            assert response.status == 200
            ready.set()
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                identity = value if name == "id" else identity
                if name == "data":
                    event = orjson.loads(value)
                    assert event["cursor"] == identity
                    found.append((identity, event["type"].split(".")[-2]))
                if len(found) == count:
                    return found
        return found

    ready = asyncio.Event()
    reading = asyncio.create_task(read(None, 3))
    await ready.wait()
    await asyncio.sleep(0.2)
    await print_once(running)
    heard = await reading
    assert [kind for _, kind in heard] == ["queued", "started", "succeeded"]
    assert await read(heard[0][0], 2) == heard[1:]
    for last in ("x", "ffffffffffffff-0"):
        answer = await running.api("GET", "/v1/events", headers={"Last-Event-ID": last})
        assert answer.problem == (422, "invalid_request", ["Last-Event-ID"])


async def test_when_all_tabs_have_gone_nothing_is_heard_or_read(
    running: Running, module_broker: Broker
) -> None:
    async with asyncio.timeout(10):
        while running.gateway.live.listening:
            await asyncio.sleep(0.05)
        while True:
            bound = (await module_broker.api("GET", f"bindings/{module_broker.path}")).json()
            if not any(one["source"] and "gateway.live" in one["destination"] for one in bound):
                return
            await asyncio.sleep(0.1)

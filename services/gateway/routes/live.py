"""What happens in a workspace, as it happens: one WebSocket per tab, or a stream for scripts.

Both are CloudEvents in JSON (a frame of the WebSocket is one, as its protocol binding says), in the
order of their commits, none left out and none twice after a `cursor`. A reader that is too slow is
sent away with the place where it goes on.
"""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import orjson
from aiohttp import WSMsgType, web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.gateway.api import Header, Query, Routes
from services.gateway.caller import Viewer
from services.gateway.feed import Feed, Follower, Happened, Place, Wanted
from services.gateway.models.live import Cursor, LiveOrder
from services.gateway.problems import INVALID_REQUEST, UPGRADE_REQUIRED, Problem
from services.gateway.resources import Gateway
from shared.errors import Unavailable

routes = Routes("live")
PROTOCOL = "cloudevents.json"
HEARTBEAT_SECONDS = 15.0
FIRST_ORDER_SECONDS = 10.0
WRITE_SECONDS = 30.0
CLOSE_SECONDS = 2.0
ORDER_BYTES = 64 * 1024
# Close codes; 1001 (the gateway stops) and 1011 (something is broken here) are the standard's.
SLOW_READER, BAD_ORDER, KEY_REVOKED, GOING, BROKEN = 4001, 4002, 4003, 1001, 1011
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # A proxy that collects the stream before it passes it on would make it useless.
    "X-Accel-Buffering": "no",
}


class StreamQuery(BaseModel):
    """What to hear of."""

    model_config = ConfigDict(extra="forbid")

    job: Annotated[UUID | None, Field(description="Only what happens to this job.")] = None
    cloud: Annotated[UUID | None, Field(description="Only what happens to jobs of this cloud.")] = (
        None
    )


@routes.get(
    "/v1/live",
    status=101,
    media_types=("application/cloudevents+json",),
    problems=(UPGRADE_REQUIRED,),
)
async def open_live(gateway: Gateway, caller: Viewer, request: web.Request) -> web.StreamResponse:
    """Follow the workspace over a WebSocket: events of jobs and their progress.

    Subprotocol `cloudevents.json`; a browser, which cannot set headers, names `bearer.<key>` beside
    it. The first frame is the client's: `{"subscribe": {}}`, or `{"subscribe": {"jobs": [...],
    "clouds": [...]}, "after": CURSOR}`; `pointmill.live.subscribed.v1` answers. Each event has a
    `cursor` to go on from; progress has none. `pointmill.live.heartbeat.v1` comes every 15 seconds with
    the newest cursor. Closed with 4001: too slow, go on from the last cursor; 4002: a frame makes no
    sense; 4003: the key is no longer good; 1001: the gateway stops, connect again.
    """
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise Problem(UPGRADE_REQUIRED, headers={"Upgrade": "websocket"})
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        heartbeat=2 * HEARTBEAT_SECONDS,
        compress=False,
        max_msg_size=ORDER_BYTES,
        timeout=CLOSE_SECONDS,
    )
    await socket.prepare(request)
    gateway.metrics.streams.inc()
    try:
        async with gateway.live.feed(caller.workspace) as feed:
            await _Socket(gateway, feed, request, socket).run()
    finally:
        gateway.metrics.streams.dec()
    return socket


class _Socket:
    """One client's WebSocket: a task that hears it, a task that tells it."""

    def __init__(
        self, gateway: Gateway, feed: Feed, request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._socket = socket
        self._follower = Follower(feed, self._send)
        self._orders: asyncio.Queue[LiveOrder] = asyncio.Queue(maxsize=1)
        self._code = GOING

    async def run(self) -> None:
        """Until either side has had enough."""
        tasks = {asyncio.create_task(self._hear()), asyncio.create_task(self._tell())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._follower.leave()
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Unavailable):
                self._code = BROKEN
            elif isinstance(outcome, Exception) and not isinstance(
                outcome, ConnectionError | TimeoutError
            ):
                raise outcome
        await self._close()

    async def _hear(self) -> None:
        """Take the client's orders until it leaves or talks nonsense."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                self._code = BAD_ORDER
                return
            try:
                order = LiveOrder.model_validate_json(message.data)
            except ValidationError:
                self._code = BAD_ORDER
                return
            await self._orders.put(order)
            self._wake()

    async def _tell(self) -> None:
        """Send what is wanted, for as long as the client reads."""
        try:
            async with asyncio.timeout(FIRST_ORDER_SECONDS):
                order: LiveOrder | None = await self._orders.get()
        except TimeoutError:
            self._code = BAD_ORDER
            return
        next_beat = time.monotonic() + HEARTBEAT_SECONDS
        while not self._gateway.live.closed:
            if order is not None and not await self._begin(order):
                return
            order = None
            await self._follower.send_waiting()
            subscription = self._follower.subscription
            if subscription is None or subscription.overflowed:
                self._code = SLOW_READER
                return
            if time.monotonic() >= next_beat:
                if not await self._beat():
                    return
                next_beat = time.monotonic() + HEARTBEAT_SECONDS
            if self._orders.empty():
                await subscription.wait(max(0.0, next_beat - time.monotonic()))
            if not self._orders.empty():
                order = self._orders.get_nowait()

    async def _begin(self, order: LiveOrder) -> bool:
        """Do as the client asks; whether it made sense."""
        jobs, clouds = order.subscribe.jobs, order.subscribe.clouds
        wanted = Wanted(_texts(jobs), _texts(clouds))
        try:
            after = None if order.after is None else Place.of(order.after)
            place = await self._follower.subscribe(wanted, after)
        except ValueError:
            self._code = BAD_ORDER
            return False
        await self._say("subscribed", str(place))
        return True

    async def _beat(self) -> bool:
        """Say that we live, and where the client could go on; whether its key still opens this."""
        try:
            await Viewer.from_request(self._request)
        except Problem:
            self._code = KEY_REVOKED
            return False
        await self._say("heartbeat", await self._follower.cursor())
        return True

    async def _say(self, what: str, cursor: str) -> None:
        await self._write(orjson.dumps(_notice(what, cursor)))

    async def _send(self, event: Happened) -> None:
        await self._write(event.frame)

    async def _write(self, frame: bytes) -> None:
        """Send a frame; a reader that takes nothing for long is a slow one."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._socket.send_frame(frame, WSMsgType.TEXT)
        except TimeoutError:
            self._code = SLOW_READER
            raise

    def _wake(self) -> None:
        if self._follower.subscription is not None:
            self._follower.subscription.wake()

    async def _close(self) -> None:
        """Say why, wait a little, and be gone even if nobody reads."""
        transport = self._request.transport
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(2 * CLOSE_SECONDS):
                await self._socket.close(code=self._code)
        if transport is not None:
            asyncio.get_running_loop().call_later(WRITE_SECONDS, transport.abort)


@routes.get("/v1/events", media_types=("text/event-stream",))
async def stream_workspace_events(
    gateway: Gateway,
    caller: Viewer,
    request: web.Request,
    query: Annotated[StreamQuery, Query()],
    last: Annotated[Cursor | None, Header("Last-Event-ID")] = None,
) -> web.StreamResponse:
    """Follow the workspace as a stream of CloudEvents, for scripts.

    `curl -N …/v1/events`. The id of an event is its cursor: send the last one as `Last-Event-ID` to go
    on from there; without it the stream begins now. It is ended after an hour, when the gateway
    stops, and when it is read too slowly.
    """
    async with gateway.live.feed(caller.workspace) as feed:
        try:
            after = None if last is None else Place.of(last)
        except ValueError as error:
            raise Problem.of_field(INVALID_REQUEST, "Last-Event-ID", str(error)) from error
        if after is not None and after.xid > (await feed.newest()).xid:
            raise Problem.of_field(INVALID_REQUEST, "Last-Event-ID", "is none of ours")
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        gateway.metrics.streams.inc()
        try:
            jobs = None if query.job is None else frozenset({str(query.job)})
            clouds = None if query.cloud is None else frozenset({str(query.cloud)})
            await _stream(gateway, feed, request, response, Wanted(jobs, clouds), after)
        finally:
            gateway.metrics.streams.dec()
    return response


async def _stream(  # noqa: PLR0913, PLR0917 - what a stream is made of
    gateway: Gateway,
    feed: Feed,
    request: web.Request,
    response: web.StreamResponse,
    wanted: Wanted,
    after: Place | None,
) -> None:
    async def write(text: bytes) -> None:
        async with asyncio.timeout(WRITE_SECONDS):
            await response.write(text)

    async def send(event: Happened) -> None:
        identity = b"" if event.place is None else f"id: {event.place}\n".encode()
        await write(b"%sevent: %s\ndata: %s\n\n" % (identity, event.type.encode(), event.frame))

    follower = Follower(feed, send)
    until = time.monotonic() + gateway.settings.stream_seconds
    try:
        await write(f"id: {await follower.subscribe(wanted, after)}\n\n".encode())
        subscription = follower.subscription
        while subscription is not None and not subscription.overflowed:
            transport = request.transport
            over = gateway.live.closed or transport is None or transport.is_closing()
            if over or time.monotonic() >= until:
                return
            await subscription.wait(min(HEARTBEAT_SECONDS, max(0.0, until - time.monotonic())))
            await follower.send_waiting()
            await write(f"id: {await follower.cursor()}\n: ping\n\n".encode())
    except (ConnectionError, TimeoutError, Unavailable):
        return  # the client goes on from its last cursor
    finally:
        follower.leave()


def _texts(ids: list[UUID] | None) -> frozenset[str] | None:
    return None if ids is None else frozenset(map(str, ids))


def _notice(what: str, cursor: str) -> dict[str, Any]:
    """A CloudEvent about the connection itself."""
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/pointmill/gateway",
        "type": f"pointmill.live.{what}.v1",
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "cursor": cursor,
        "data": {"cursor": cursor},
    }

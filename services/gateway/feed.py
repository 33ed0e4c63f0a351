"""The events of a workspace, read once for everybody here who listens to it.

The table of events is the truth, in the order of its transactions; what the bus says is a hint to
look. Each subscriber has a bounded buffer: who does not keep up loses the place, not an event, and
goes on from the last cursor.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from uuid import UUID

import orjson
import structlog

from shared.db import Database, Row
from shared.errors import Unavailable

# A look without a hint: what the bus has lost is seen after so long.
POLL_SECONDS = 2.0
# Where an older transaction may still add events: looked at again after so long, then ever later.
SETTLE_SECONDS = 0.02
LONGEST_SETTLE_SECONDS = 1.0
PAGE = 200
BUFFER_FRAMES = 1000
BUFFER_BYTES = 1 << 20
MOST_CLOUDS_KNOWN = 1000

logger = structlog.get_logger("gateway")


class Place(NamedTuple):
    """A place among the events of a workspace: everything up to it has been seen."""

    xid: int
    id: int

    def __str__(self) -> str:
        """The cursor that stands for it."""
        return f"{self.xid:x}-{self.id:x}"

    @classmethod
    def of(cls, cursor: str) -> Self:
        """The place that a cursor stands for; ValueError if it is none."""
        xid, _, identity = cursor.partition("-")
        place = cls(int(xid, 16), int(identity, 16))
        if str(place) != cursor or max(place) >= 2**63:
            msg = f"{cursor!r} is no cursor"
            raise ValueError(msg)
        return place


@dataclass(frozen=True)
class Happened:
    """An event on its way to subscribers, written out once for all of them.

    Attributes:
        place: where it stands; None for progress, which is not kept.
        frame: the CloudEvent as JSON.
    """

    place: Place | None
    job: str
    cloud: str | None
    type: str
    frame: bytes

    @classmethod
    def of(cls, row: Row) -> Self:
        """An event of the table."""
        place, message = Place(int(row["xid"]), row["id"]), row["message"]
        cloud = message["data"].get("cloud_id")
        frame = orjson.dumps({**message, "cursor": str(place)})
        return cls(place, str(row["job_id"]), cloud, message["type"], frame)


@dataclass(frozen=True)
class Wanted:
    """What a subscriber wants to hear of: these jobs, and the jobs of these clouds; None: of all."""

    jobs: frozenset[str] | None = None
    clouds: frozenset[str] | None = None

    def has(self, event: Happened) -> bool:
        """Whether the event is wanted."""
        if self.jobs is None and self.clouds is None:
            return True
        return event.job in (self.jobs or ()) or event.cloud in (self.clouds or ())


class Subscription:
    """One listener's buffer: what it wants, where it stands, what waits to be sent."""

    def __init__(self, wanted: Wanted, place: Place) -> None:
        """Want these events, after the place."""
        self.wanted = wanted
        self.place = place
        self.overflowed = False
        self._waiting: deque[Happened] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    def offer(self, event: Happened) -> None:
        """Take an event if it is wanted and new; too many at once end the subscription."""
        if event.place is not None and event.place <= self.place:
            return
        if not self.wanted.has(event):
            return
        if len(self._waiting) >= BUFFER_FRAMES or self._bytes >= BUFFER_BYTES:
            if event.place is not None:  # progress comes again
                self.overflowed = True
                self.wake()
            return
        self._waiting.append(event)
        self._bytes += len(event.frame)
        self._news.set()

    def take(self) -> list[Happened]:
        """What waits; it is the caller's now."""
        taken = [
            event for event in self._waiting if event.place is None or event.place > self.place
        ]
        self._waiting.clear()
        self._bytes = 0
        return taken

    def wake(self) -> None:
        """Make `wait` return."""
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Until something waits, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()


class Feed:
    """The events of one workspace as they come, for its subscribers."""

    def __init__(self, database: Database, workspace: UUID) -> None:
        """Nobody subscribes yet."""
        self._database = database
        self._workspace = workspace
        self._subscribers: set[Subscription] = set()
        self._clouds: dict[str, str | None] = {}
        self._woken = asyncio.Event()
        self._place: Place | None = None
        self._begun = asyncio.Lock()
        self._settling = SETTLE_SECONDS

    async def place(self) -> Place:
        """How far the feed has come; begins now if it is new.

        Raises:
            DatabaseUnavailable: it has not begun and cannot.
        """
        async with self._begun:
            if self._place is None:
                self._place = await self.newest()
        return self._place

    async def newest(self) -> Place:
        """Where a listener begins that wants nothing of what has been."""
        return Place(int(await self._database.value("read_live_place")), 0)

    def add(self, subscription: Subscription) -> None:
        """Offer it what comes."""
        self._subscribers.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Offer it nothing more."""
        self._subscribers.discard(subscription)

    def wake(self) -> None:
        """There may be news."""
        self._woken.set()

    def wake_all(self) -> None:
        """Let every subscriber see that the gateway closes."""
        for subscription in self._subscribers:
            subscription.wake()

    async def after(self, place: Place) -> AsyncIterator[Happened]:
        """The settled events after a place, page by page."""
        full = True
        while full:
            events, full, _ = await self._read(place)
            for event in events:
                yield event
            if events and events[-1].place is not None:
                place = events[-1].place

    async def tell_progress(self, job: str, message: dict[str, Any]) -> None:
        """Offer progress as it is heard."""
        if not self._subscribers:
            return
        cloud = None
        if any(one.wanted.clouds for one in self._subscribers):
            cloud = await self._cloud_of(job)
        self._offer(Happened(None, job, cloud, message["type"], orjson.dumps(message)))

    async def run(self) -> None:
        """Read what comes, for ever."""
        while True:
            pause = POLL_SECONDS
            try:
                pause = await self._look()
            except Unavailable as error:
                logger.warning("feed_waits", code=error.code, detail=error.detail)
            except Exception:
                # A bug; those who listen must not be left with a feed that is dead and looks well.
                logger.exception("feed_failed", workspace=str(self._workspace))
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _look(self) -> float:
        """Offer what is new; how long to wait before the next look without a hint."""
        self._woken.clear()
        place = await self.place()
        full, unsettled = True, False
        while full:
            events, full, unsettled = await self._read(place)
            for event in events:
                self._offer(event)
            if events and events[-1].place is not None:
                self._place = place = events[-1].place
        if not unsettled:
            self._settling = SETTLE_SECONDS
            return POLL_SECONDS
        pause, self._settling = self._settling, min(2 * self._settling, LONGEST_SETTLE_SECONDS)
        return pause

    async def _read(self, place: Place) -> tuple[list[Happened], bool, bool]:
        """Settled events, whether there are more of them, and whether some are not settled."""
        rows = await self._database.rows(
            "read_live_events", self._workspace, str(place.xid), place.id, PAGE
        )
        events = [Happened.of(row) for row in rows if row["settled"]]
        return events, len(events) == PAGE, len(events) < len(rows)

    def _offer(self, event: Happened) -> None:
        for subscription in self._subscribers:
            subscription.offer(event)

    async def _cloud_of(self, job: str) -> str | None:
        if job not in self._clouds:
            if len(self._clouds) >= MOST_CLOUDS_KNOWN:
                self._clouds.clear()
            row = await self._database.row("read_job", self._workspace, UUID(job))
            cloud = row["cloud_id"] if row is not None else None
            self._clouds[job] = None if cloud is None else str(cloud)
        return self._clouds[job]


class Follower:
    """One listener: what was since its place, then what comes; the same for WebSockets and SSE."""

    def __init__(self, feed: Feed, send: Callable[[Happened], Awaitable[None]]) -> None:
        """Send events by `send`, which waits as long as the reader makes it."""
        self._feed = feed
        self._send = send
        self.subscription: Subscription | None = None

    async def subscribe(self, wanted: Wanted, after: Place | None) -> Place:
        """Begin anew after a place (None: now); the place where what comes goes on.

        Raises:
            ValueError: nobody can have been at that place yet.
        """
        self.leave()
        place = await self._feed.place()
        if after is None:
            after = place
        elif after.xid > (await self._feed.newest()).xid:
            msg = "the cursor is none of ours"
            raise ValueError(msg)
        # At the reader's own pace, straight from the table, until nothing is left …
        after = await self._catch_up(wanted, after)
        # … then what comes while the last look is made waits in the buffer.
        self.subscription = Subscription(wanted, after)
        self._feed.add(self.subscription)
        self.subscription.place = await self._catch_up(wanted, after)
        return self.subscription.place

    def leave(self) -> None:
        """Hear nothing more."""
        if self.subscription is not None:
            self._feed.remove(self.subscription)
            self.subscription = None

    async def send_waiting(self) -> None:
        """Send what has come."""
        if self.subscription is None:
            return
        for event in self.subscription.take():
            await self._send(event)
            if event.place is not None:
                self.subscription.place = event.place

    async def cursor(self) -> str:
        """Where to go on after what has been sent; call it when nothing waits."""
        place = await self._feed.place()
        if self.subscription is not None:
            # What the feed has passed since was not wanted.
            place = max(place, self.subscription.place)
        return str(place)

    async def _catch_up(self, wanted: Wanted, place: Place) -> Place:
        async for event in self._feed.after(place):
            if wanted.has(event):
                await self._send(event)
            if event.place is not None:
                place = event.place
        return place

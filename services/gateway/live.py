"""Wakes who follows jobs: what the bus says is a hint to look at the rows.

Without the bus everybody still looks every `POLL_SECONDS`; with it, it looks at once. Of a
workspace that nobody here listens to nothing is heard: no binding, no message, no cost.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

from services.gateway.feed import POLL_SECONDS, Feed
from services.gateway.models.jobs import Progress
from shared import topology
from shared.bus import Binding, Bus, Delivery, Interests
from shared.db import Database
from shared.messages.jobs import MESSAGES, JobProgressV1, JobRequestedV1

__all__ = ["ACCEPTS", "POLL_SECONDS", "Listener", "Live"]
# Of an event only the subject is read; of progress, all of it. Requests are no business of ours.
ACCEPTS = tuple(message.TYPE for message in MESSAGES if message is not JobRequestedV1)
PROGRESS: Binding = (topology.PROGRESS, "progress.*")


class Listener:
    """One stream's ear: whether there is news, and the latest progress heard."""

    def __init__(self) -> None:
        """Nothing heard yet."""
        self._news = asyncio.Event()
        self.progress: tuple[int, Progress] | None = None

    def tell(self, progress: tuple[int, Progress] | None = None) -> None:
        """There is news; progress comes with its attempt."""
        if progress is not None:
            self.progress = progress
        self._news.set()

    async def wait(self, seconds: float) -> bool:
        """Until there is news, at most so long; whether there was."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Live:
    """All listeners of this gateway: by job, and by workspace."""

    def __init__(self, database: Database) -> None:
        """Nobody listens."""
        self._database = database
        self._listeners: dict[UUID, set[Listener]] = defaultdict(set)
        self._feeds: dict[UUID, Feed] = {}
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._followers: Counter[UUID] = Counter()
        self._interests = Interests(lambda _: self.wake_all())
        self.closed = False

    @property
    def listening(self) -> int:
        """How many jobs and workspaces somebody listens to."""
        return len(self._listeners) + len(self._feeds)

    @contextmanager
    def listener(self, workspace: UUID, job: UUID) -> Iterator[Listener]:
        """Listen to what is said of a workspace's job, as long as the block runs."""
        listener = Listener()
        self._listeners[job].add(listener)
        try:
            with self._interests.want(events_of(workspace), PROGRESS):
                yield listener
        finally:
            self._listeners[job].discard(listener)
            if not self._listeners[job]:
                del self._listeners[job]

    @asynccontextmanager
    async def feed(self, workspace: UUID) -> AsyncIterator[Feed]:
        """The feed of a workspace, which runs as long as somebody uses it."""
        self._followers[workspace] += 1
        if workspace not in self._feeds:
            feed = self._feeds[workspace] = Feed(self._database, workspace)
            self._running[workspace] = asyncio.create_task(feed.run(), name=f"feed {workspace}")
        try:
            with self._interests.want(events_of(workspace), PROGRESS):
                yield self._feeds[workspace]
        finally:
            self._followers[workspace] -= 1
            if not self._followers[workspace]:
                del self._followers[workspace], self._feeds[workspace]
                self._running.pop(workspace).cancel()

    async def run(self, bus: Bus) -> None:
        """Listen to the bus, for ever, through an exclusive queue of this instance."""
        await bus.consumer.follow("gateway.live", self._interests, self.hear)

    async def hear(self, delivery: Delivery) -> None:
        """Wake who waits for the job or the workspace that this message is about."""
        subject = delivery.envelope.subject
        if subject is None:
            return
        job = _uuid(subject)
        progress = None
        if delivery.envelope.type == JobProgressV1.TYPE:
            message = delivery.read()
            if not isinstance(message, JobProgressV1):
                return
            progress = (message.attempt, Progress.model_validate(message.model_dump()))
            feed = self._feeds.get(message.workspace_id)
            if feed is not None:
                envelope = delivery.envelope.model_dump(mode="json", exclude_none=True)
                await feed.tell_progress(subject, envelope)
        else:
            workspace = _uuid(delivery.routing_key.partition(".")[0])
            if workspace in self._feeds:
                self._feeds[workspace].wake()
        for listener in self._listeners.get(job, ()):
            listener.tell(progress)

    def close(self) -> None:
        """End all streams; their clients resume elsewhere."""
        self.closed = True
        self.wake_all()
        for feed in self._feeds.values():
            feed.wake_all()

    def wake_all(self) -> None:
        """What was said while nobody listened was missed: everybody looks again."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.tell()
        for feed in self._feeds.values():
            feed.wake()


def events_of(workspace: UUID) -> Binding:
    """What brings the events of a workspace's jobs."""
    return topology.EVENTS, f"{workspace}.job.#"


def _uuid(text: str) -> UUID:
    """The identifier; the nil one where it is none, which nobody listens to."""
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)

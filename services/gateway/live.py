"""Wakes the streams of job events: what the bus says is a hint to look at the rows.

Without the bus every stream still looks every `POLL_SECONDS`; with it, it looks at once. Of a
workspace that nobody here listens to nothing is heard: no binding, no message, no cost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from services.gateway.models.jobs import Progress
from shared import topology
from shared.bus import Binding, Bus, Delivery, Interests
from shared.messages.jobs import MESSAGES, JobProgressV1, JobRequestedV1

POLL_SECONDS = 2.0
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
    """All listeners of this gateway, by job."""

    def __init__(self) -> None:
        """Nobody listens."""
        self._listeners: dict[UUID, set[Listener]] = defaultdict(set)
        self._interests = Interests(lambda _: self.wake_all())
        self.closed = False

    @property
    def listening(self) -> int:
        """How many jobs somebody listens to."""
        return len(self._listeners)

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

    async def run(self, bus: Bus) -> None:
        """Listen to the bus, for ever, through an exclusive queue of this instance."""
        await bus.consumer.follow("gateway.live", self._interests, self.hear)

    async def hear(self, delivery: Delivery) -> None:
        """Wake who waits for the job this message is about."""
        subject = delivery.envelope.subject
        if subject is None:
            return
        try:
            job = UUID(subject)
        except ValueError:
            return
        if job not in self._listeners:
            return
        progress = None
        message = delivery.read()
        if isinstance(message, JobProgressV1):
            shown = Progress.model_validate(message.model_dump())
            progress = (message.attempt, shown)
        for listener in self._listeners[job]:
            listener.tell(progress)

    def close(self) -> None:
        """End all streams; their clients resume elsewhere."""
        self.closed = True
        self.wake_all()

    def wake_all(self) -> None:
        """What was said while nobody listened was missed: everybody looks again."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.tell()


def events_of(workspace: UUID) -> Binding:
    """What brings the events of a workspace's jobs."""
    return topology.EVENTS, f"{workspace}.job.#"

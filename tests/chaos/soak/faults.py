"""The faults of the soak, each over within seconds; which comes when is the seed's choice."""

import asyncio
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aio_pika

from deploy.local import rabbitmq
from shared import topology
from tests.chaos.conftest import LEASE_SECONDS
from tests.chaos.test_services_go_away import children_in
from tests.fixtures.fault_proxy import FaultProxy
from tests.fixtures.system import System


@dataclass
class World:
    """What can be broken: the system, the second processor beside it, and the lines to the servers.

    Attributes:
        happened: how often each fault came.
        ended: services that ended without being told to, with their last words.
    """

    system: System
    twin: System
    broker: FaultProxy
    database: FaultProxy
    rng: random.Random
    happened: Counter[str] = field(default_factory=Counter)
    ended: list[str] = field(default_factory=list)
    _down: set[tuple[int, str]] = field(default_factory=set)

    async def kill(self) -> None:
        """Kill -9 of one of the four services."""
        system, service = self._someone()
        with self._is_down(system, service):
            await system.kill(service)
            await asyncio.sleep(self.rng.uniform(0, 1))
            await system.start(service, wait=False)

    async def stop(self) -> None:
        """SIGTERM of a processor."""
        system = self._a_processor()
        with self._is_down(system, "processor"):
            await system.stop("processor")
            await system.start("processor", wait=False)

    async def freeze(self) -> None:
        """SIGSTOP of a processor for longer than its lease."""
        system = self._a_processor()
        system.pause("processor")
        await asyncio.sleep(2 * LEASE_SECONDS + self.rng.uniform(0, 2))
        system.resume("processor")

    async def kill_child(self) -> None:
        """Kill -9 of the processes of running attempts."""
        for pid in children_in(self.system.folder / "scratch"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    async def reset_lines(self) -> None:
        """Every connection to broker and database reset."""
        self.broker.reset()
        self.database.reset()

    async def partition_broker(self) -> None:
        """Partition from the broker."""
        self.broker.black_hole = True
        await asyncio.sleep(self.rng.uniform(2, 8))
        self.broker.black_hole = False

    async def partition_database(self) -> None:
        """Partition from the database."""
        self.database.black_hole = True
        await asyncio.sleep(self.rng.uniform(1, 4))
        self.database.black_hole = False

    async def half_open(self) -> None:
        """Half-open connections to the broker."""
        self.broker.half_open()

    async def ambiguous(self) -> None:
        """A COMMIT without an answer."""
        self.database.lose_answer("up", self.rng.choice([b"COMMIT;", b'"soak', b'"printed"']))
        await asyncio.sleep(1)

    async def kill_broker(self) -> None:
        """Kill -9 of the broker."""
        await self.system.restart_rabbitmq(kill=True)

    async def kill_database(self) -> None:
        """Kill -9 of the database."""
        await self.system.restart_postgres(kill=True)

    async def lose_doorbells(self) -> None:
        """The doorbells in the queue thrown away."""
        queue = topology.work_queue(self.rng.choice(topology.POOLS))
        await self.system.broker.api("DELETE", f"queues/{self.system.broker.path}/{queue}/contents")

    async def repeat_messages(self) -> None:
        """Messages in the notifier's queue repeated, shuffled."""
        url = self.system.broker.url(rabbitmq.ADMIN)
        async with await aio_pika.connect(url, timeout=10) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(topology.NOTIFIER_EVENTS, passive=True)
            kept: list[aio_pika.abc.AbstractIncomingMessage] = []
            while len(kept) < 20 and (message := await queue.get(fail=False)) is not None:
                kept.append(message)
            twins = kept * 3
            self.rng.shuffle(twins)
            for message in twins:
                copy = aio_pika.Message(
                    message.body, message_id=message.message_id, type=message.type
                )
                await channel.default_exchange.publish(copy, topology.NOTIFIER_EVENTS)
            for message in kept:
                await message.ack()

    @contextmanager
    def _is_down(self, system: System, service: str) -> Iterator[None]:
        self._down.add((id(system), service))
        yield
        self._down.discard((id(system), service))

    async def watch(self) -> None:
        """Start again, for ever, what has ended by itself, as whoever runs services does; and note it."""
        while True:
            for system in (self.system, self.twin):
                for part in list(system.running):
                    if not system.is_running(part) and (id(system), part) not in self._down:
                        self.ended.append(
                            f"{part} ended by itself: {system.log_tail(part)[-2000:]}"
                        )
                        await system.start(part, wait=False)
            await asyncio.sleep(0.2)

    def _someone(self) -> tuple[System, str]:
        places = [
            (self.system, "gateway"),
            (self.system, "notifier"),
            (self.system, "processor"),
            (self.twin, "processor"),
        ]
        return self.rng.choice(places)

    def _a_processor(self) -> System:
        return self.rng.choice([self.system, self.twin])

    async def go_wrong(self, names: dict[str, int], pause: float) -> None:
        """One fault after the other, for ever; the numbers say how often each comes."""
        while True:
            await asyncio.sleep(self.rng.uniform(0.5, 2) * pause)
            name = self.rng.choices(list(names), list(names.values()))[0]
            await self.one(name)

    async def one(self, name: str) -> None:
        """One fault, by its name."""
        fault: Callable[[], Awaitable[None]] = getattr(self, name)
        self.happened[(fault.__doc__ or name).rstrip(".")] += 1
        try:
            await fault()
        except (OSError, aio_pika.exceptions.AMQPError):
            self.happened["of these in vain, the server being away already"] += 1

    def heal(self) -> None:
        """Let everything pass again."""
        self.broker.black_hole = self.database.black_hole = False
        for system in (self.system, self.twin):
            if system.is_running("processor"):
                system.resume("processor")


def last_words(system: System, part: str) -> str:
    """What was raised last, by its log; else the log's end. Two processors write into one log."""
    end = system.log(part)[-30_000:]
    raised: list[str] = re.findall(r'[\w.]+Error: [^"\\]+', end)
    return (raised or [end[-500:]])[-1]


EVERYTHING = {
    "kill": 6,
    "stop": 3,
    "freeze": 4,
    "kill_child": 2,
    "reset_lines": 3,
    "partition_broker": 2,
    "partition_database": 2,
    "half_open": 1,
    "ambiguous": 5,
    "kill_broker": 1,
    "kill_database": 1,
    "lose_doorbells": 2,
    "repeat_messages": 3,
}

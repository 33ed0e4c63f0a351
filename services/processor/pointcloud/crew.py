"""The processes that share the work on one cloud, and how they are spoken to.

A small cloud is milled by this process itself: starting others would take longer than the work.
Otherwise each member of the crew is a fork of this process, which spares it the start of an
interpreter and its libraries; from then on it shares nothing but files. It dies with its parent, and
its death by a signal is an answer like any other, never a hang.
"""

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Protocol

from services.processor.pointcloud.crew_member import work
from services.processor.pointcloud.failures import decoder_crashed
from services.processor.pointcloud.miller import Miller, Report
from services.processor.pointcloud.plan import Plan
from shared.errors import TaskFailed

_GOODBYE_SECONDS = 2.0
_WAIT_SECONDS = 60.0


class Crew(Protocol):
    """One or more millers."""

    def each(self, method: str, orders: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Have every order done by whichever miller is free; results come as they are ready."""
        ...

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Have every miller do the same."""
        ...

    def close(self) -> None:
        """Send the millers home."""
        ...


class Alone:
    """A crew of this process only."""

    def __init__(self, plan: Plan, report: Report) -> None:
        self._miller = Miller("0", plan, report)

    def each(self, method: str, orders: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Do the orders one after the other."""
        for order in orders:
            yield getattr(self._miller, method)(*order)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Do it."""
        return [getattr(self._miller, method)(*arguments)]

    def close(self) -> None:
        """Close the miller's files."""
        self._miller.close()


class Processes:
    """A crew of `size` processes."""

    def __init__(self, plan: Plan, report: Report, size: int) -> None:
        self._report = report
        self._members: dict[Connection, ForkProcess] = {}
        try:
            for number in range(size):
                self._hire(str(number), plan)
        except BaseException:
            self.close()
            raise

    def each(self, method: str, orders: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Keep every process busy until all orders are done."""
        waiting = iter(orders)
        idle = list(self._members)
        busy: set[Connection] = set()
        while True:
            while idle and (order := next(waiting, None)) is not None:
                connection = idle.pop()
                self._send(connection, (method, order))
                busy.add(connection)
            if not busy:
                return
            for connection, result in self._answers(busy):
                busy.discard(connection)
                idle.append(connection)
                yield result

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Have every process do the same, at the same time."""
        for connection in self._members:
            self._send(connection, (method, arguments))
        missing = set(self._members)
        results = []
        while missing:
            for connection, result in self._answers(missing):
                missing.discard(connection)
                results.append(result)
        return results

    def close(self) -> None:
        """End the processes; those that do not go are killed."""
        for connection in self._members:
            connection.close()
        for process in self._members.values():
            process.join(_GOODBYE_SECONDS)
            if process.exitcode is None:
                process.kill()
                process.join(_GOODBYE_SECONDS)

    def _hire(self, name: str, plan: Plan) -> None:
        ours, theirs = Pipe()
        with theirs:
            # A copy of another's end would keep that one waiting for orders for ever.
            foreign = (ours, *self._members)
            process = multiprocessing.get_context("fork").Process(
                target=work, args=(theirs, foreign, os.getpid(), name, plan), daemon=True
            )
            process.start()
        self._members[ours] = process

    def _send(self, connection: Connection, message: object) -> None:
        try:
            connection.send(message)
        except OSError as error:
            raise self._crash(connection) from error

    def _answers(self, busy: set[Connection]) -> Iterator[tuple[Connection, Any]]:
        """The results that are there, after waiting for news from the busy ones."""
        # A member that works in native code for long says nothing; the attempt's own time limit
        # ends that. A member that dies closes its end, which wakes this wait at once.
        for connection in wait(list(busy), _WAIT_SECONDS):
            if not isinstance(connection, Connection):
                raise TypeError("only connections are waited for")
            try:
                kind, content = connection.recv()
            except (EOFError, OSError) as error:
                raise self._crash(connection) from error
            if kind == "points":
                self._report(content)
            elif kind == "failed":
                raise TaskFailed(**content)
            elif kind == "broken":
                raise RuntimeError(content)
            else:
                yield connection, content

    def _crash(self, connection: Connection) -> TaskFailed:
        process = self._members[connection]
        process.join(_GOODBYE_SECONDS)
        return decoder_crashed(process.exitcode)

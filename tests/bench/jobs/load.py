"""The load: a process of its own that orders jobs over plain sockets, and says what it took itself.

    python -m tests.bench.jobs.load <port> <api key> full <connections> <requests> <seconds>
    python -m tests.bench.jobs.load <port> <api key> paced <a second> <requests>

`full` keeps every connection busy until so many requests are answered or the time is over; `paced`
sends one every so often, whatever became of those before. Prints one line of JSON. The jobs are of
`demo.print`: its first word is the mode, its second counts the requests from 1.
"""

import asyncio
import json
import resource
import sys
import time
from typing import cast

_BODY = b'{"kind":"demo.print","params":{"first":"%s","second":"%d"}}'
_ANSWER_SECONDS = 30


class Connection(asyncio.Protocol):
    """One HTTP connection with at most one request on its way.

    It reads of an answer what it must: the status, the length, and where the body ends.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[int] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """The connection is gone; nothing here may lose an answer unnoticed."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or self._answered is None:
            return
        low = head.lower()
        length = int(low.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._buffer = body[length:]
            self._answered.set_result(int(head[9:12]))

    def send(self, request: bytes) -> "asyncio.Future[int]":
        """Send a request; the status of its answer."""
        if self.transport is None:
            raise ConnectionError("not connected")
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answered


class Load:
    """What is sent, and what came of it."""

    def __init__(self, port: int, key: str, mode: str) -> None:
        self._port = port
        self._mode = mode.encode()
        self._head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self._sent = 0
        self.seconds: list[float] = []
        self.statuses: dict[int, int] = {}
        self.began: list[float] = []

    async def full(self, connections: int, requests: int, seconds: float) -> None:
        """Keep all connections busy."""
        until = time.perf_counter() + seconds
        opened = [await self._connect() for _ in range(connections)]
        async with asyncio.TaskGroup() as group:
            for connection in opened:
                group.create_task(self._keep_busy(connection, requests, until))

    async def paced(self, rate: float, requests: int) -> None:
        """Send so many a second, each on a connection that is free."""
        free = [await self._connect() for _ in range(8)]
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(requests):
                await asyncio.sleep(began + number / rate - time.perf_counter())
                connection = free.pop() if free else await self._connect()
                group.create_task(self._send_one(connection, free))

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        return connection

    async def _keep_busy(self, connection: Connection, requests: int, until: float) -> None:
        while self._sent < requests and time.perf_counter() < until:
            await self._send(connection)

    async def _send_one(self, connection: Connection, free: list[Connection]) -> None:
        await self._send(connection)
        free.append(connection)

    async def _send(self, connection: Connection) -> None:
        self._sent += 1
        body = _BODY % (self._mode, self._sent)
        self.began.append(time.time())
        began = time.perf_counter()
        answered = connection.send(self._head + b"%d\r\n\r\n" % len(body) + body)
        status = await asyncio.wait_for(answered, _ANSWER_SECONDS)
        self.seconds.append(time.perf_counter() - began)
        self.statuses[status] = self.statuses.get(status, 0) + 1


def main() -> int:
    """Run the load; print what was found."""
    port, key, mode, *numbers = sys.argv[1:]
    load = Load(int(port), key, mode)
    began = time.perf_counter()
    if mode == "full":
        connections, requests, seconds = numbers
        asyncio.run(load.full(int(connections), int(requests), float(seconds)))
    else:
        rate, requests = numbers
        asyncio.run(load.paced(float(rate), int(requests)))
    wall = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "seconds": sorted(load.seconds),
        "statuses": load.statuses,
        "began": load.began if mode == "paced" else [],
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

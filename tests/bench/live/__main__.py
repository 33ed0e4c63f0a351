"""1,000 WebSockets and 200 requests a second at one gateway on one core: is any event missed?

    make bench-live

A gateway of its own beside the running stack is pinned to one core, this program to the others. Every
tab follows the whole workspace. Of the requests one a second is an order, whose job the stack's
processor runs; the others read a job. An event is missed when a tab lacks one of an order's three, or
one that another tab has.
"""

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import orjson

from deploy.local.ports import choose

TABS = 1000
RATE = 200
SECONDS = 30
READY_SECONDS = 30
END = "pointmill.job.succeeded.v1"


class Tab:
    """One WebSocket and the ids of what it has heard."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.events: list[str] = []
        self.ended = 0

    async def begin(self) -> None:
        """Follow the whole workspace from now on."""
        await self._socket.send_json({"subscribe": {}})
        await self._socket.receive(timeout=READY_SECONDS)

    async def hear(self) -> None:
        """Note what comes, until it is closed."""
        async for message in self._socket:
            event = orjson.loads(message.data)
            if event["type"].startswith("pointmill.job.") and "cursor" in event:
                self.events.append(event["id"])
                self.ended += event["type"] == END


def cpu_of(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> int:
    """Megabytes that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


async def wait_ready(session: aiohttp.ClientSession, url: str) -> None:
    """Until the gateway is ready."""
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


async def load(session: aiohttp.ClientSession, url: str) -> tuple[int, list[float]]:
    """Send the requests at their times; how many orders there were, and what each request took."""
    order = {"kind": "demo.print", "params": {"first": "live"}}
    async with session.post(f"{url}/v1/jobs", json=order) as answer:
        job = (await answer.json())["id"]
    took: list[float] = []
    orders = 1

    async def one(*, ordering: bool) -> None:
        started = time.perf_counter()
        method, path = ("POST", "/v1/jobs") if ordering else ("GET", f"/v1/jobs/{job}")
        async with session.request(method, url + path, json=order if ordering else None) as answer:
            await answer.read()
            assert answer.status < 300, answer.status
        took.append(time.perf_counter() - started)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
            ordering = number % RATE == 0
            orders += ordering
            group.create_task(one(ordering=ordering))
    return orders, took


async def measure(url: str, pid: int) -> int:
    """Run it and say what came out; the exit status."""
    headers = {"Authorization": f"Bearer {os.environ['POINTMILL_API_KEY']}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        await wait_ready(session, url)
        tabs = []
        for _ in range(TABS):
            tab = Tab(await session.ws_connect(f"{url}/v1/live", max_msg_size=0))
            await tab.begin()
            tabs.append(tab)
        hearing = [asyncio.create_task(tab.hear()) for tab in tabs]
        cpu, started = cpu_of(pid), time.perf_counter()
        orders, took = await load(session, url)
        seconds = time.perf_counter() - started
        cpu = (cpu_of(pid) - cpu) / seconds
        async with asyncio.timeout(READY_SECONDS):
            while min(tab.ended for tab in tabs) < orders:
                await asyncio.sleep(0.1)
        for task in hearing:
            task.cancel()
        heard = [tab.events for tab in tabs]
    whole = max(heard, key=len)
    missed = sum(len(set(whole) - set(events)) for events in heard)
    twice = sum(len(events) - len(set(events)) for events in heard)
    cuts = statistics.quantiles(took, n=100)
    # Each order is queued, started and succeeds: three events, of which no tab may lack one.
    missed += TABS * max(0, 3 * orders - len(whole))
    requests = f"{len(took) / seconds:.0f} requests/s for {seconds:.0f} s, {orders} of them orders"
    lines = (
        f"{TABS} tabs, {requests}",
        f"request: median {cuts[49] * 1000:.1f} ms, 99 of 100 under {cuts[98] * 1000:.0f} ms",
        f"events: {len(whole)} for each tab, {missed} missed, {twice} twice",
        f"the same list in {heard.count(whole)} tabs",
        f"gateway: {cpu * 100:.0f} % of its core, {memory_of(pid)} MB",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if missed or twice else 0


def main() -> int:
    """Start the gateway on its core, measure, end it."""
    # Both programs hold a file for each tab.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cores = sorted(os.sched_getaffinity(0))
    url_port = choose(set(), "bench-live")
    env = {
        **os.environ,
        "GATEWAY_PORT": str(url_port),
        "GATEWAY_REQUESTS_PER_SECOND": "0",
        "GATEWAY_LOG_LEVEL": "WARNING",
    }
    command = ["taskset", "-c", str(cores[0]), sys.executable, "-m", "services.gateway"]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as gateway:
        try:
            if cores[1:]:
                os.sched_setaffinity(0, cores[1:])
            return asyncio.run(measure(f"http://127.0.0.1:{url_port}", gateway.pid))
        finally:
            gateway.terminate()


if __name__ == "__main__":
    sys.exit(main())

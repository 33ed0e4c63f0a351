"""What operators ask a service: is it alive, is it ready, what does it measure."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import prometheus_client
from aiohttp import web

from shared.errors import PointmillError

CHECK_SECONDS = 3.0
CACHE_SECONDS = 1.0

Check = Callable[[], Awaitable[Any]]


class Health:
    """The readiness of a service: every named check must pass. Answers are kept for one second."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._answer: dict[str, str] = {}
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self.draining = False

    async def report(self) -> dict[str, str]:
        """`ok` or a sentence per check."""
        async with self._lock:
            if time.monotonic() - self._asked > CACHE_SECONDS:
                answers = await asyncio.gather(*(_ask(check) for check in self._checks.values()))
                self._answer = dict(zip(self._checks, answers, strict=True))
                self._asked = time.monotonic()
        return {
            **self._answer,
            **({"draining": "this process is leaving"} if self.draining else {}),
        }


async def _ask(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except PointmillError as error:
        return error.detail
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:.0f} s"
    except Exception as error:
        return f"failed with {type(error).__name__}"
    return "ok"


async def livez(_: web.Request) -> web.Response:
    """The loop turns."""
    return web.json_response({"status": "ok"})


async def readyz(health: Health) -> web.Response:
    """200 when every check passes, 503 otherwise; either way all of them."""
    report = await health.report()
    ready = all(answer == "ok" for answer in report.values())
    return web.json_response(
        {"status": "ok" if ready else "not_ready", "checks": report}, status=200 if ready else 503
    )


async def metrics(_: web.Request) -> web.Response:
    """Everything this process measures, in the Prometheus text format."""
    return web.Response(
        body=prometheus_client.generate_latest(),
        headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST},
    )


async def serve_health(health: Health, host: str, port: int) -> web.AppRunner:
    """Serve /livez, /readyz and /metrics for a service that has no HTTP API of its own.

    Raises:
        OSError: the port is taken.
    """

    async def ready(_: web.Request) -> web.Response:
        return await readyz(health)

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", ready), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner

"""What happens to every request on its way in and out: identity, problems, headers, one log line."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiohttp import web

from services.gateway.bodies import UPLOAD_BYTES, UPLOAD_IDLE_SECONDS
from services.gateway.cors import ORIGINS, Origins, add_cors_headers, answer_preflight
from services.gateway.metrics import Metrics
from services.gateway.problems import (
    BAD_REQUEST,
    BODY_CUT,
    BY_STATUS,
    INTERNAL_ERROR,
    Problem,
)
from services.gateway.ration import BUCKETS, RATION, Buckets
from shared.errors import PointmillError

log = structlog.get_logger("gateway.access")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID = web.RequestKey("REQUEST_ID", str)
METRICS = web.AppKey("METRICS", Metrics)
# Probes and scrapes come every few seconds and say nothing.
QUIET = frozenset({"/livez", "/readyz", "/metrics"})
# A made-up method must not become a label of its own.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Traffic:
    """The requests in hand, so that a gateway that is told to stop can let them end.

    aiohttp's own shutdown throws away what arrives on a connection once it has begun: an upload
    would stall and be cut. So the requests are waited for before that.
    """

    def __init__(self) -> None:
        """Nothing in hand."""
        self.requests = 0
        self.draining = False
        self._changed = asyncio.Event()

    def count(self, change: int) -> None:
        """A request has begun (1) or ended (-1)."""
        self.requests += change
        self._changed.set()

    async def drain(self, seconds: float) -> bool:
        """Close connections after their answer, wait for the last one; whether all have ended."""
        self.draining = True
        try:
            async with asyncio.timeout(seconds):
                while self.requests:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.warning("requests_cut", requests=self.requests)
            return False
        return True


TRAFFIC = web.AppKey("TRAFFIC", Traffic)


def new_application(
    metrics: Metrics,
    *,
    upload_bytes: int,
    upload_idle_seconds: float,
    requests_per_second: float = 0,
    origins: Sequence[str] = (),
) -> web.Application:
    """An application without a route in which everything below already holds."""
    app = web.Application(middlewares=[observe, answer_problems, answer_preflight])
    app[METRICS] = metrics
    app[TRAFFIC] = Traffic()
    app[BUCKETS] = Buckets(requests_per_second)
    app[ORIGINS] = Origins(origins)
    app[UPLOAD_BYTES] = upload_bytes
    app[UPLOAD_IDLE_SECONDS] = upload_idle_seconds
    metrics.in_flight.set_function(lambda: app[TRAFFIC].requests)
    app.on_response_prepare.append(add_headers)
    return app


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, count it and log it: method, path (no query), status, time, bytes."""
    request[REQUEST_ID] = request_id = secrets.token_hex(8)
    metrics, traffic = request.app[METRICS], request.app[TRAFFIC]
    started = time.perf_counter()
    status = 499  # the client went away before there was an answer
    traffic.count(1)
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        traffic.count(-1)
        seconds = time.perf_counter() - started
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "unmatched"
        method = request.method if request.method in METHODS else "other"
        metrics.observe(method, route, status, seconds)
        if route not in QUIET:
            log.info(
                "request",
                method=method,
                # A signed link is as good as a key while it lives.
                path=route if route.startswith("/v1/signed/") else request.path[:300],
                status=status,
                ms=round(seconds * 1000, 1),
                request_id=request_id,
            )


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into a problem document; only here, so that all of them look alike."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem = _of_aiohttp(error)
    except PointmillError as error:
        problem = Problem.of(error)
        if problem.status >= 500:
            log.warning("unavailable", code=problem.code, detail=error.detail)
    except ConnectionError:
        # The peer is gone; what we answer is for the log and the metrics only.
        problem = Problem(BODY_CUT)
    except Exception:
        # The boundary: a bug must not show its traceback to a client, nor go unseen.
        log.exception("internal_error", request_id=request[REQUEST_ID])
        problem = Problem(INTERNAL_ERROR)
    if request.writer.output_size > 0:
        # An answer has begun already; all that is left is to break it off visibly.
        raise ConnectionResetError(problem.detail)
    return problem.response(request[REQUEST_ID])


def _of_aiohttp(error: web.HTTPException) -> Problem:
    kind = BY_STATUS.get(error.status)
    headers = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    if kind is None:
        kind = BAD_REQUEST if error.status < 500 else INTERNAL_ERROR
    return Problem(kind, headers=headers)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal before any answer is sent: its id, and what browsers must not do with it."""
    headers = response.headers
    if request.app[TRAFFIC].draining:
        response.force_close()
    request_id = request.get(REQUEST_ID)
    if request_id is not None:
        headers["X-Request-Id"] = request_id
    headers.update(request.get(RATION, {}))
    add_cors_headers(request, response)
    # Which library answers, and of what age, is nobody's business.
    headers["Server"] = "pointmill"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    if "Content-Security-Policy" not in headers:
        headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"

"""Pages of other origins (CORS): those on the allow list, and no others.

Without a list no page of another origin may read an answer. `*` lets every page in, but then no
browser sends cookies along.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from services.gateway.problems import ORIGIN_NOT_ALLOWED, Problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ANY = "*"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
# What a page may send beyond what browsers allow anyway.
TAKEN = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Last-Event-ID, Prefer, "
    "Range, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, Upload-Defer-Length, "
    "Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override, "
    "traceparent"
)
# What a page may read beyond what browsers show anyway.
SHOWN = (
    "Accept-Ranges, Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Link, Location, "
    "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, "
    "Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, Upload-Concat, Upload-Defer-Length, "
    "Upload-Draft-Interop-Version, Upload-Expires, Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset, "
    "X-Request-Id"
)
# Browsers ask again after; Chromium takes no more than two hours.
REMEMBERED_SECONDS = 7200


@dataclass(frozen=True)
class Origins:
    """Who is let in."""

    allowed: Sequence[str]

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may read answers."""
        return ANY in self.allowed or origin in self.allowed

    def headers(self, origin: str) -> dict[str, str]:
        """What tells the browser so."""
        if ANY in self.allowed:
            return {"Access-Control-Allow-Origin": ANY, "Access-Control-Expose-Headers": SHOWN}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": SHOWN,
        }


ORIGINS = web.AppKey("ORIGINS", Origins)


@web.middleware
async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a browser that asks before it sends a page's request."""
    asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not asks:
        return await handler(request)
    if not request.app[ORIGINS].allows(request.headers.get("Origin", "")):
        raise Problem(ORIGIN_NOT_ALLOWED)
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": TAKEN,
        "Access-Control-Max-Age": str(REMEMBERED_SECONDS),
    }
    return web.Response(status=204, headers=headers)


def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Let a page that is let in read the answer, and caches tell origins apart."""
    origins = request.app[ORIGINS]
    if not origins.allowed:
        return
    if ANY not in origins.allowed:
        response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin is not None and origins.allows(origin):
        response.headers.update(origins.headers(origin))

"""The trace a request belongs to (W3C Trace Context); it travels with the job through every service."""

import re
import secrets

from aiohttp import web

FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def read_trace(request: web.Request) -> str:
    """The request's `traceparent`, or one of our own: a malformed one is as good as none."""
    given = request.headers.get("traceparent", "")
    if FORM.fullmatch(given):
        return given
    made = secrets.token_hex(24)
    return f"00-{made[:32]}-{made[32:]}-01"

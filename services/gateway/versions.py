"""Changes that must not overwrite another's, and reads that need not be sent again (RFC 9110).

An ETag is `"v<state>-<hash>"`. The state is what counts for a change (`If-Match`); the hash is of the
whole answer, which may change by itself while the state does not (a cloud's latest job), and counts
for a read (`If-None-Match`).
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from services.gateway.problems import PRECONDITION_FAILED, Problem

ANY = "*"


def etag(state: object) -> dict[str, str]:
    """The header of an answer about something in this state; api.py adds the hash of the answer."""
    return {"ETag": f'"v{state}"'}


def with_hash(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """The headers with an ETag that tells this very answer."""
    state = headers.get("ETag", '""').strip('"')
    told = hashlib.blake2b(body, digest_size=8).hexdigest()
    return {**headers, "ETag": f'"{state}-{told}"' if state else f'"{told}"'}


def refuse_stale(state: object, if_match: str | None) -> None:
    """Raise unless it is in the state that the client expects."""
    if if_match in {None, ANY} or if_match is None:
        return
    expected = if_match.strip('"').partition("-")[0]
    if expected != f"v{state}":
        message = f'It is not as {if_match[:100]} says any more: its state is "v{state}".'
        raise Problem(PRECONDITION_FAILED, message)


def is_known(request: web.Request, tag: str) -> bool:
    """Whether the client says that it has this answer already."""
    given = request.headers.getall("If-None-Match", ())
    known = [one.strip().removeprefix("W/") for line in given for one in line.split(",")]
    return tag in known or ANY in known


def not_modified(headers: Mapping[str, Any]) -> web.Response:
    """The answer to whom it is known."""
    kept = CIMultiDict({name: headers[name] for name in ("ETag", "Cache-Control")})
    return web.Response(status=304, headers=kept)

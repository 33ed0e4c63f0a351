"""Sessions in browsers: the cookie, and the guard against other sites that would use it.

The cookie is `__Host-` (this host alone, TLS alone), unreadable to scripts and kept from other
sites' requests. Besides, what changes something, and a WebSocket, must come from our own pages as the
browser itself says: by `Sec-Fetch-Site`, or by `Origin` where an old one sends no such header.
"""

from urllib.parse import urlsplit

from aiohttp import hdrs, web

from services.gateway.problems import CROSS_SITE, Problem

COOKIE = "__Host-pointmill"
SIGN_IN_COOKIE = "__Host-pointmill-sign-in"
HARMLESS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


def set_cookie(response: web.StreamResponse, name: str, value: str, seconds: float) -> None:
    """Give the browser a cookie for so long; 0 takes it away.

    Lax, so that the way back from the provider, which begins at another site, brings it along.
    """
    response.set_cookie(
        name, value, max_age=int(seconds), path="/", secure=True, httponly=True, samesite="Lax"
    )


def refuse_other_sites(request: web.Request, public_url: str | None) -> None:
    """Refuse a request with a cookie that another site may have made the browser send."""
    if request.method in HARMLESS and hdrs.UPGRADE not in request.headers:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        ours = site == "same-origin"
    else:
        ours = public_url is not None and request.headers.get(hdrs.ORIGIN) == origin_of(public_url)
    if not ours:
        raise Problem(CROSS_SITE)


def origin_of(url: str) -> str:
    """The origin of an address, as browsers say it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

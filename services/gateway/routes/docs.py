"""The API's description: /openapi.json, /asyncapi.json for the bus, a page to read and try it, and the table of problems.

Everything is served from here: the pages work on a machine without a network.
"""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import swagger_ui_bundle
from aiohttp import web

from services.gateway.api import Route
from services.gateway.openapi import build_document
from services.gateway.problems import PAGE, TABLE
from shared import asyncapi

FOLDER = Path(__file__).parent.parent / "docs"
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
OWN = ("start.js", "page.css")
# swagger-ui sets style attributes and draws its icons from data: URLs.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "public, max-age=600",
}
DESCRIPTION = """\
Point clouds in over HTTP, milled in the background, handed out as streamable products.

Send your API key as `Authorization: Bearer <key>`. Every refusal is a problem document (RFC 9457)
whose `code` is stable; all of them are listed at [/docs/problems](/docs/problems). Lists are read
page by page: pass the `next` of one page as `cursor` of the following one.

What is said over the message broker, and how another service asks for work there, is described by
[/asyncapi.json](/asyncapi.json) (AsyncAPI 3).
"""


def mount_docs(app: web.Application, routes: Sequence[Route], version: str) -> None:
    """Serve the document of these routes and the pages that show it."""
    document = build_document(routes, title="Pointmill", version=version, description=DESCRIPTION)
    app.router.add_get("/openapi.json", _constant(orjson.dumps(document), "application/json"))
    messages = orjson.dumps(asyncapi.build_document(version))
    app.router.add_get("/asyncapi.json", _constant(messages, "application/json"))
    app.router.add_get("/", _to_docs)
    app.router.add_get("/docs", _file(FOLDER / "index.html"))
    app.router.add_get(PAGE, _constant(problems_page().encode(), "text/html"))
    for name in OWN:
        app.router.add_get(f"/docs/{name}", _file(FOLDER / name))
    for name in ASSETS:
        path = Path(swagger_ui_bundle.swagger_ui_path) / name
        app.router.add_get(f"/docs/assets/{name}", _file(path))


async def _to_docs(_request: web.Request) -> web.Response:
    return web.Response(status=303, headers={"Location": "/docs"})


def _constant(body: bytes, media_type: str) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=media_type, charset="utf-8", headers=HEADERS)

    return answer


def _file(path: Path) -> Any:
    async def answer(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(path, headers=HEADERS)

    return answer


def problems_page() -> str:
    """The table of every problem as a page without a script."""
    rows = "\n".join(
        f'<tr id="{kind.code}"><td><code>{kind.code}</code></td><td>{kind.status}</td>'
        f"<td>{html.escape(kind.title)}.</td><td>{html.escape(kind.remedy)}</td></tr>"
        for kind in TABLE
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Pointmill: problems</title>
<link rel="stylesheet" href="/docs/page.css"></head>
<body class="problems"><h1>Problems</h1>
<p>Every refusal of the API, by its stable <code>code</code>.</p>
<table><thead><tr><th>code</th><th>status</th><th>what happened</th><th>what to do</th></tr></thead>
<tbody>
{rows}
</tbody></table></body></html>
"""

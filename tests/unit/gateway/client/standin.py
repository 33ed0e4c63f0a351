"""A stand-in that speaks the API's shapes on a loopback port, for the client's own logic only."""

import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "pm_test_key"
COPC = bytes(range(256)) * 20_000
Script = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def problem(status: int, code: str, detail: str, remedy: str = "Do better.") -> web.Response:
    document = {"title": code, "status": status, "detail": detail, "code": code, "remedy": remedy}
    return web.json_response(document, status=status, content_type="application/problem+json")


def new_job(kind: str, cloud: str | None, **more: Any) -> dict[str, Any]:
    job: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "kind": kind,
        "state": "queued",
        "attempt": 0,
        "params": {},
        "cloud": cloud,
        "priority": 0,
        "progress": None,
        "error": None,
        "result": None,
        "retry_of": None,
        "created_at": "2026-11-24T04:00:00.5Z",
        "available_at": "2026-11-24T04:00:00.5Z",
        "started_at": None,
        "ended_at": None,
    }
    return {**job, **more}


@dataclass
class Server:
    """The stand-in: what it holds, what it was asked, and what it is told to do wrong next."""

    url: str = ""
    clouds: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    projects: list[dict[str, Any]] = field(default_factory=list)
    asked: list[web.Request] = field(default_factory=list)
    # For each "METHOD /path/with/*" what to do instead, once per entry; None means: as always.
    scripts: dict[str, list[Script]] = field(default_factory=dict)
    products: dict[str, bytes] = field(
        default_factory=lambda: {"copc": COPC, "info": b'{"points": 1065}'}
    )
    fails: dict[str, Any] | None = None

    def requests(self, method: str, path: str) -> list[web.Request]:
        return [one for one in self.asked if one.method == method and one.path == path]

    def end(self, job: dict[str, Any]) -> None:
        """Let a job end."""
        job.update(attempt=1, started_at="2026-11-24T04:00:01Z", ended_at="2026-11-24T04:00:03.5Z")
        if self.fails is not None:
            job.update(state="failed", error=self.fails)
        else:
            job.update(state="succeeded", result={"points": 1065})

    def listed(self, cloud_id: str) -> list[dict[str, Any]]:
        types = {"copc": "application/vnd.laszip+copc", "info": "application/json"}
        return [
            {
                "name": name,
                "media_type": types[name],
                "bytes": len(content),
                "crc32c": "00000000",
                "sha256": hashlib.sha256(content).hexdigest(),
                "job": self.clouds[cloud_id]["job"],
                "created_at": "2026-11-24T04:00:03Z",
                "href": f"/v1/clouds/{cloud_id}/products/{name}",
            }
            for name, content in self.products.items()
        ]


def no_job() -> web.Response:
    return problem(404, "job_not_found", "There is no such job.")


def add_projects(server: Server, routes: web.RouteTableDef) -> None:
    @routes.post("/v1/projects")
    async def create_project(request: web.Request) -> web.Response:
        name = (await request.json())["name"]
        if any(project["name"] == name for project in server.projects):
            return problem(409, "project_name_taken", "name: is another project's")
        project = {
            "id": str(uuid.uuid4()),
            "name": name,
            "description": "",
            "created_at": "2026-11-24T04:00:00Z",
        }
        server.projects.append(project)
        return web.json_response(project, status=201)

    @routes.get("/v1/projects")
    async def list_projects(request: web.Request) -> web.Response:
        start = int(request.query.get("cursor", 0))
        limit = int(request.query["limit"])
        page = server.projects[start : start + limit]
        more = start + limit < len(server.projects)
        return web.json_response({"items": page, "next": str(start + limit) if more else None})


def add_clouds(server: Server, routes: web.RouteTableDef) -> None:
    @routes.post("/v1/clouds")
    async def create_cloud(request: web.Request) -> web.Response:
        order = await request.json()
        cloud = {
            "id": str(uuid.uuid4()),
            "project": order.get("project"),
            "name": order["name"],
            "state": "empty",
            "source": None,
            "job": None,
            "created_at": "2026-11-24T04:00:00Z",
        }
        server.clouds[cloud["id"]] = cloud
        return web.json_response(cloud, status=201)

    @routes.get("/v1/clouds/{id}")
    async def read_cloud(request: web.Request) -> web.Response:
        return web.json_response(server.clouds[request.match_info["id"]])

    @routes.delete("/v1/clouds/{id}")
    async def delete_cloud(request: web.Request) -> web.Response:
        del server.clouds[request.match_info["id"]]
        return web.Response(status=204)

    @routes.put("/v1/clouds/{id}/file", expect_handler=_say_nothing_yet)
    async def put_file(request: web.Request) -> web.Response:
        if not request.query["name"].endswith((".las", ".laz")):
            return problem(422, "unsupported_extension", "name: must end in .las or .laz")
        cloud = server.clouds[request.match_info["id"]]
        if cloud["state"] == "stored":
            return problem(409, "cloud_already_stored", "The cloud has its file already.")
        await invite(request)
        body = await request.read()
        job = new_job("pointcloud.ingest", cloud["id"])
        server.jobs[job["id"]] = job
        server.files[cloud["id"]] = body
        source = {"name": request.query["name"], "bytes": len(body), "crc32c": "00000000"}
        cloud.update(state="stored", source=source, job=job["id"])
        return web.json_response({"cloud": cloud, "job": job}, status=201)


def add_products(server: Server, routes: web.RouteTableDef) -> None:
    @routes.get("/v1/clouds/{id}/products")
    async def list_products(request: web.Request) -> web.Response:
        assert not request.query_string, "this list takes no query"
        items = server.listed(request.match_info["id"])
        return web.json_response({"items": items, "next": None})

    @routes.get("/v1/clouds/{id}/products/{name}")
    async def download(request: web.Request) -> web.Response:
        content = server.products[request.match_info["name"]]
        given = request.headers.get("Range")
        if given is None:
            return web.Response(body=content)
        start = int(given.removeprefix("bytes=").removesuffix("-"))
        return web.Response(status=206, body=content[start:])


def add_jobs(server: Server, routes: web.RouteTableDef) -> None:
    @routes.post("/v1/jobs")
    async def create_job(request: web.Request) -> web.Response:
        order = await request.json()
        if order["kind"] == "no.such":
            return problem(422, "unknown_kind", "kind: no.such is not known", "List the kinds.")
        job = new_job(order["kind"], order.get("cloud"), params=order["params"])
        server.jobs[job["id"]] = job
        return web.json_response(job, status=202)

    @routes.get("/v1/jobs")
    async def list_jobs(request: web.Request) -> web.Response:
        assert request.query.keys() <= {"limit", "cursor", "state", "kind", "cloud"}
        wanted = {key: value for key, value in request.query.items() if key in {"state", "kind"}}
        items = [job for job in server.jobs.values() if wanted.items() <= job.items()]
        return web.json_response({"items": items[: int(request.query["limit"])], "next": None})

    @routes.get("/v1/kinds")
    async def list_kinds(request: web.Request) -> web.Response:
        assert not request.query_string, "this list takes no query"
        kind = {
            "kind": "demo.print",
            "title": "Print two words",
            "description": "",
            "params_schema": {"properties": {"a": {}, "b": {}}, "required": ["a"]},
            "needs_source": False,
        }
        return web.json_response({"items": [kind], "next": None})


def add_job(server: Server, routes: web.RouteTableDef) -> None:
    @routes.get("/v1/jobs/{id}")
    async def read_job(request: web.Request) -> web.Response:
        job = server.jobs.get(request.match_info["id"])
        return no_job() if job is None else web.json_response(job)

    @routes.post("/v1/jobs/{id}/cancel")
    async def cancel_job(request: web.Request) -> web.Response:
        job = server.jobs.get(request.match_info["id"])
        if job is None:
            return no_job()
        job.update(state="cancelled")
        return web.json_response(job, status=202)

    @routes.post("/v1/jobs/{id}/retry")
    async def retry_job(request: web.Request) -> web.Response:
        job = server.jobs.get(request.match_info["id"])
        if job is None:
            return no_job()
        again = new_job(job["kind"], job["cloud"], retry_of=job["id"])
        server.jobs[again["id"]] = again
        return web.json_response(again, status=202)

    @routes.get("/v1/jobs/{id}/events")
    async def events(request: web.Request) -> web.StreamResponse:
        job = server.jobs.get(request.match_info["id"])
        if job is None:
            return no_job()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        running = {**job, "state": "running", "progress": {"stage": "build", "fraction": 0.4}}
        await response.write(event("started", running, 2))
        server.end(job)
        await response.write(event(job["state"], job, 3))
        return response


async def _say_nothing_yet(request: web.Request) -> None:
    """The handler decides whether it wants the body."""


async def invite(request: web.Request) -> None:
    """Ask for the body."""
    assert request.headers["Expect"] == "100-continue"
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0


def event(name: str, job: dict[str, Any], number: int) -> bytes:
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(job)}\n\n".encode()


async def cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


def application(server: Server) -> web.Application:
    @web.middleware
    async def script(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        server.asked.append(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return problem(401, "unauthorized", "No valid API key came with the request.")
        parts = ["*" if len(part) == 36 else part for part in request.path.split("/")]
        waiting = server.scripts.get(f"{request.method} {'/'.join(parts)}")
        if waiting:
            answer = await waiting.pop(0)(request)
            if answer is not None:
                return answer
        return await handler(request)

    app = web.Application(middlewares=[script], client_max_size=1 << 30)
    routes = web.RouteTableDef()
    for add in (add_projects, add_clouds, add_products, add_jobs, add_job):
        add(server, routes)
    app.add_routes(routes)
    return app


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Awaitable[Ran]]

"""The typed-route layer: a route is one async function whose signature says it all.

    routes = Routes("projects")

    @routes.post("/v1/projects", status=201, problems=(PROJECT_NAME_TAKEN,))
    async def create_project(gateway: Gateway, caller: Caller, body: NewProject) -> Project:
        '''Create a project.'''

A parameter is, by its type:
    a class with `from_request`        what that gives (the service's parts, the caller)
    named as in the path's `{...}`     that part of the path
    `Annotated[Model, Query()]`        the query, as a model
    `Annotated[T, Header("Name")]`     a header
    a pydantic model                   the JSON body
    `Upload`, or `Model | Upload`      the body as it arrives, or by its content type
    `web.Request`                      the request itself
    `GatewayOnce`                      the gateway; the route takes an `Idempotency-Key` (once.py)
The answer is what the return type says, serialised by pydantic; `Reply[T]` adds headers, None is an
empty answer, and a `web.StreamResponse` is sent as it is. The same registrations make the OpenAPI
document (openapi.py). Signatures are read once, when the decorator runs.
"""

import inspect
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar, Unpack

from aiohttp import web
from pydantic import TypeAdapter

from services.gateway.bodies import wait_to_be_asked
from services.gateway.models.shown import Page
from services.gateway.once import answer_once
from services.gateway.paging import link_to
from services.gateway.problems import Kind
from services.gateway.resources import Gateway
from services.gateway.signatures import (
    KEY_HEADER,
    Header,
    Query,
    Reply,
    Signature,
    read_signature,
    refuse_query,
)
from services.gateway.versions import is_known, not_modified, with_hash

__all__ = ["Header", "Query", "Reply", "Route", "Routes", "mount"]

# A client may keep what it has read, and asks whether it still holds.
REVALIDATE = {"Cache-Control": "private, no-cache"}
Function = TypeVar("Function", bound=Callable[..., Awaitable[Any]])
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Options(TypedDict, total=False):
    """The facts of an operation that its signature does not tell."""

    status: int  # of a good answer; 200
    problems: tuple[Kind, ...]  # what it may refuse beyond what its signature implies
    media_types: tuple[str, ...]  # of a good answer; ("application/json",)
    statuses: tuple[int, ...]  # other good statuses of an answer of its own (206, 304)


@dataclass(frozen=True)
class Route:
    """One registered operation: all that serving and documenting it needs."""

    method: str
    path: str
    function: Callable[..., Awaitable[Any]]
    status: int
    tag: str
    problems: tuple[Kind, ...]
    media_types: tuple[str, ...]
    statuses: tuple[int, ...]
    signature: Signature

    @property
    def reads_one(self) -> bool:
        """Whether it reads a single thing, which a client may know already."""
        answer = self.signature.answer
        listed = isinstance(answer, type) and issubclass(answer, Page)
        return self.method == "GET" and answer is not None and not listed

    def handler(self) -> Handler:
        """The aiohttp handler; everything that can be settled beforehand is settled here."""
        function, respond, once = self.function, self.responder(), self.signature.once
        fetch, read, body = self.signature.fetch, self.signature.read, self.signature.body
        refuses_query = self.signature.refuses_query
        operation, asks = f"{self.method} {self.path}", self.signature.caller or ""

        async def handle(request: web.Request) -> web.StreamResponse:
            arguments: dict[str, Any] = {}
            for name, give in fetch:
                arguments[name] = await give(request)
            for name, take in read:
                arguments[name] = take(request)
            if refuses_query:
                refuse_query(request)
            if body is not None:
                arguments[body.name] = await body.read(request)
            if once is None or KEY_HEADER not in request.headers:
                return respond(request, await function(**arguments))
            gateway = arguments.pop(once)
            order = None if body is None else arguments[body.name]

            async def run(within: Gateway) -> web.StreamResponse:
                return respond(request, await function(**{once: within}, **arguments))

            return await answer_once(request, arguments[asks], operation, order, gateway, run)

        return handle

    def responder(self) -> Callable[[web.Request, Any], web.StreamResponse]:
        """What makes an answer of that which the function gives back."""
        status, read_alone = self.status, self.reads_one
        to_json = _serialiser(self.signature.answer)

        def respond(request: web.Request, outcome: Any) -> web.StreamResponse:
            if isinstance(outcome, web.StreamResponse):
                return outcome
            if to_json is _nothing:
                return web.Response(status=status)
            reply = outcome if isinstance(outcome, Reply) else Reply(outcome)
            headers = reply.headers
            if isinstance(reply.content, Page) and reply.content.next is not None:
                headers = {**headers, **link_to(request, reply.content.next)}
            body = to_json(reply.content)
            if read_alone or "ETag" in headers:
                headers = with_hash(headers, body)
            if read_alone:
                headers = {**headers, **REVALIDATE}
                if is_known(request, headers["ETag"]):
                    return not_modified(headers)
            return web.Response(
                body=body,
                status=reply.status or status,
                headers=headers,
                content_type="application/json",
            )

        return respond


def _nothing(_content: Any) -> bytes:
    return b""


def _serialiser(answer: Any) -> Callable[[Any], bytes]:
    if answer is None:
        return _nothing
    serialiser: Callable[[Any], bytes] = TypeAdapter(answer).serializer.to_json
    return serialiser


class Routes:
    """The operations of one file; a tag of the document."""

    def __init__(self, tag: str) -> None:
        """Start an empty group under this tag."""
        self._tag = tag
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        """The operations in the order of their registration."""
        return iter(self._routes)

    def get(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Register a reading operation; see `Options`."""
        return self.add("GET", path, options)

    def post(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Register a creating operation; see `Options`."""
        return self.add("POST", path, options)

    def put(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Register a storing operation; see `Options`."""
        return self.add("PUT", path, options)

    def patch(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Register a changing operation; see `Options`."""
        return self.add("PATCH", path, options)

    def delete(self, path: str, **options: Unpack[Options]) -> Callable[[Function], Function]:
        """Register a deleting operation; it answers 204 with nothing."""
        return self.add("DELETE", path, {"status": 204, **options})

    def add(self, method: str, path: str, options: Options) -> Callable[[Function], Function]:
        """Register an operation: `path` has a `{name}` for each part that is a parameter."""

        def register(function: Function) -> Function:
            route = Route(
                method=method,
                path=path,
                function=function,
                status=options.get("status", 200),
                tag=self._tag,
                problems=options.get("problems", ()),
                media_types=options.get("media_types", ("application/json",)),
                statuses=options.get("statuses", ()),
                signature=read_signature(function, path),
            )
            if not inspect.getdoc(function):
                raise TypeError(f"{function.__name__} needs a docstring: it is its documentation")
            self._routes.append(route)
            return function

        return register


def mount(app: web.Application, *groups: Routes) -> tuple[Route, ...]:
    """Serve the operations; gives them back for the document."""
    routes = tuple(route for group in groups for route in group)
    by_path: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        by_path[route.path].append(route)
    # A path that names a part comes before one that takes any: `…/{name}/url` before `…/{name}/{member}`.
    for path in sorted(by_path, key=_parts_that_vary):
        operations = by_path[path]
        resource = app.router.add_resource(path)
        allowed = set()
        for route in operations:
            handler = route.handler()
            methods = {route.method}
            if route.method == "GET" and "text/event-stream" not in route.media_types:
                methods.add("HEAD")
            for method in methods:
                resource.add_route(method, handler, expect_handler=wait_to_be_asked)
            allowed |= methods
        # Else `GET /v1/jobs/cancel` would be the job `cancel`.
        resource.add_route("*", _refuse_method(allowed), expect_handler=wait_to_be_asked)
    return routes


def _parts_that_vary(path: str) -> list[bool]:
    return ["{" in part for part in path.split("/")]


def _refuse_method(allowed: Iterable[str]) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse

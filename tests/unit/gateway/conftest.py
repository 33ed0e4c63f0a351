"""A small application with every sort of route, served for real on a loopback port."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import BaseModel, Field

from services.gateway.api import Header, Query, Reply, Route, Routes, mount
from services.gateway.bodies import Upload
from services.gateway.edge import new_application
from services.gateway.fields import Document, IdempotencyKey, Name, Order, Text
from services.gateway.metrics import open_metrics
from services.gateway.problems import PROJECT_NAME_TAKEN, UNAUTHORIZED, Kind, Problem
from shared.errors import DatabaseUnavailable, PointmillError

Client = TestClient[web.Request, web.Application]
routes = Routes("samples")


@dataclass(frozen=True)
class Caller:
    name: str
    secured: ClassVar[bool] = True
    problems: ClassVar[tuple[Kind, ...]] = (UNAUTHORIZED,)

    @classmethod
    async def from_request(cls, request: web.Request) -> Self:
        if request.headers.get("Authorization") != "Bearer good":
            raise Problem(UNAUTHORIZED)
        return cls("somebody")


class NewSample(Order):
    name: Name
    text: Text = ""
    size: Annotated[float, Field(ge=0)] = 0
    config: Document = Field(default_factory=dict)


class Sample(BaseModel):
    id: UUID
    name: str
    size: float = 0


class Listing(Order):
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    name: Text | None = None


class Stored(BaseModel):
    bytes: int


SAMPLE = UUID(int=7)


@routes.post("/samples", status=201, problems=(PROJECT_NAME_TAKEN,))
async def create_sample(caller: Caller, body: NewSample) -> Reply[Sample]:
    """Create a sample.

    Its name is its own.
    """
    if body.name == "taken":
        raise Problem.of_field(PROJECT_NAME_TAKEN, "name", "is taken")
    sample = Sample(id=SAMPLE, name=body.name, size=body.size)
    return Reply(sample, headers={"Location": f"/samples/{SAMPLE}"})


@routes.get("/samples")
async def list_samples(
    query: Annotated[Listing, Query()],
    key: Annotated[IdempotencyKey | None, Header("Idempotency-Key")] = None,
) -> list[Sample]:
    """List samples."""
    return [Sample(id=SAMPLE, name=query.name or key or "one", size=query.limit)]


@routes.get("/samples/{sample_id}")
async def read_sample(sample_id: UUID) -> Sample:
    """Read a sample."""
    return Sample(id=sample_id, name="one")


@routes.delete("/samples/{sample_id}")
async def delete_sample(sample_id: UUID, who: Annotated[str, Header("X-Who")]) -> None:
    """Delete a sample."""


@routes.put("/samples/{sample_id}/file", status=201)
async def store_file(caller: Caller, sample_id: UUID, body: Upload) -> Stored:
    """Store a file."""
    async for _ in body.chunks():
        pass
    return Stored(bytes=body.received)


@routes.post("/either", status=201)
async def store_either(body: NewSample | Upload) -> Stored:
    """Store either."""
    if isinstance(body, NewSample):
        return Stored(bytes=-1)
    async for _ in body.chunks():
        pass
    return Stored(bytes=body.received)


@routes.get("/text", media_types=("text/plain",))
async def read_text() -> web.Response:
    """Read a text."""
    return web.Response(text="hello")


@routes.get("/broken/{how}")
async def break_down(how: str) -> Stored:
    """Break down."""
    if how == "database":
        raise DatabaseUnavailable("PostgreSQL did not answer.")
    if how == "unlisted":
        raise PointmillError("a secret of ours")
    raise RuntimeError("a secret of ours")


@dataclass(frozen=True)
class Served:
    client: Client
    routes: tuple[Route, ...]
    app: web.Application


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    app = new_application(open_metrics(), upload_bytes=1_000_000, upload_idle_seconds=0.3)
    mounted = mount(app, routes)
    server = TestServer(app)
    await server.start_server(auto_decompress=False, access_log=None)
    async with TestClient(server) as client:
        yield Served(client, mounted, app)


@pytest.fixture
def client(served: Served) -> Client:
    return served.client

"""What a route's signature promises, over a real socket."""

import json
from io import BytesIO
from typing import Annotated
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pydantic import BaseModel

from services.gateway.api import Query, Routes

Client = TestClient[web.Request, web.Application]
GOOD = {"Authorization": "Bearer good"}
JSON = {**GOOD, "Content-Type": "application/json"}
FILE = f"/samples/{UUID(int=7)}/file"


async def refused(client: Client, body: bytes, **headers: str) -> tuple[int, str, list[str]]:
    """Post a body to /samples; the status, the code and the fields named."""
    async with client.post("/samples", data=BytesIO(body), headers={**JSON, **headers}) as response:
        assert response.content_type == "application/problem+json"
        problem = await response.json(content_type=None)
        assert problem["status"] == response.status
        return response.status, problem["code"], [one["field"] for one in problem["errors"]]


async def test_a_good_request_gets_the_typed_answer_and_its_headers(client: Client) -> None:
    async with client.post("/samples", json={"name": " a ", "size": 2}, headers=GOOD) as response:
        assert response.status == 201
        assert response.headers["Location"] == f"/samples/{UUID(int=7)}"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Server"] == "pointmill"
        assert len(response.headers["X-Request-Id"]) == 16
        assert await response.json() == {"id": str(UUID(int=7)), "name": "a", "size": 2.0}


async def test_the_caller_is_asked_for_before_the_body_is_looked_at(client: Client) -> None:
    async with client.post("/samples", data=b"{") as response:
        assert response.status == 401
        assert (await response.json(content_type=None))["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("body", "status", "code", "fields"),
    [
        (b"", 400, "malformed_json", ["body"]),
        (b"{", 400, "malformed_json", ["body"]),
        (b"\xff\xfe{}", 400, "malformed_json", ["body"]),
        (b'{"name":"\xff"}', 400, "malformed_json", ["body"]),
        (b'{"name":"\\ud800"}', 400, "malformed_json", ["body"]),
        (b'{"name":' + b"[" * 60_000, 400, "malformed_json", ["body"]),
        (b'{"name":"a","size":' + b"9" * 5_000 + b"}", 400, "malformed_json", ["body"]),
        (b"[]", 422, "invalid_request", ["body"]),
        (b"{}", 422, "invalid_request", ["name"]),
        (b'{"name":""}', 422, "invalid_request", ["name"]),
        (b'{"name":"a\\u0000"}', 422, "invalid_request", ["name"]),
        (b'{"name":"a\\u202eb"}', 422, "invalid_request", ["name"]),
        (b'{"name":"a","text":"\\u0000"}', 422, "invalid_request", ["text"]),
        (b'{"name":"a","colour":1}', 422, "invalid_request", ["colour"]),
        (b'{"name":"a","size":NaN}', 422, "invalid_request", ["size"]),
        (b'{"name":"a","size":1e999}', 422, "invalid_request", ["size"]),
        (b'{"name":"a","config":{"a":{"b":[1,NaN]}}}', 422, "invalid_request", ["config"]),
        (b'{"name":"a","config":{"a":"\\u0000"}}', 422, "invalid_request", ["config"]),
        (b'{"name":"a","config":{"\\u0000":1}}', 422, "invalid_request", ["config"]),
        (b'{"name":"a","config":{"a":' + b"9" * 30 + b"}}", 422, "invalid_request", ["config"]),
        (
            b'{"name":"a","config":{"a":' + b"[" * 50 + b"]" * 50 + b"}}",
            422,
            "invalid_request",
            ["config"],
        ),
        (b'{"name":"taken"}', 409, "project_name_taken", ["name"]),
        (b'{"name":"' + b"a" * (1 << 20) + b'"}', 413, "body_too_large", ["body"]),
    ],
)
async def test_a_bad_body_is_refused_and_its_field_named(
    client: Client, body: bytes, status: int, code: str, fields: list[str]
) -> None:
    assert await refused(client, body) == (status, code, fields)


async def test_a_body_without_length_is_bounded_all_the_same(client: Client) -> None:
    async def pieces() -> object:
        for _ in range(20):
            yield b" " * 100_000

    async with client.post("/samples", data=pieces(), headers=JSON) as response:
        assert response.status == 413
        assert (await response.json(content_type=None))["code"] == "body_too_large"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "x"])
async def test_a_body_that_does_not_call_itself_json_is_refused(
    client: Client, media_type: str
) -> None:
    """A page of another origin cannot send JSON without asking first: this is a guard as well."""
    answer = await refused(client, b'{"name":"a"}', **{"Content-Type": media_type})
    assert answer == (415, "unsupported_media_type", ["Content-Type"])


async def test_a_compressed_body_is_refused_unopened(client: Client) -> None:
    answer = await refused(client, b"\x1f\x8b", **{"Content-Encoding": "gzip"})
    assert answer == (415, "unsupported_encoding", ["Content-Encoding"])
    async with client.put(FILE, data=b"x", headers={**GOOD, "Content-Encoding": "br"}) as response:
        assert response.status == 415


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/samples?limit=0", "limit"),
        ("/samples?limit=ten", "limit"),
        ("/samples?limt=10", "limt"),
        ("/samples?limit=1&limit=2", "limit"),
        ("/samples?name=%00", "name"),
        ("/samples/seven", "sample_id"),
        ("/text?anything=1", "anything"),
    ],
)
async def test_a_bad_parameter_is_named(client: Client, path: str, field: str) -> None:
    async with client.get(path) as response:
        assert response.status == 422
        problem = await response.json(content_type=None)
        assert [one["field"] for one in problem["errors"]] == [field]


async def test_headers_are_parameters_too(client: Client) -> None:
    async with client.get("/samples", headers={"Idempotency-Key": "k1"}) as response:
        assert [one["name"] for one in await response.json()] == ["k1"]
    async with client.get("/samples", headers={"Idempotency-Key": "a b"}) as response:
        assert response.status == 422
    async with client.delete(f"/samples/{UUID(int=1)}") as response:
        assert response.status == 422
        problem = await response.json(content_type=None)
        assert problem["errors"] == [{"field": "X-Who", "message": "is required"}]
    async with client.delete(f"/samples/{UUID(int=1)}", headers={"X-Who": "me"}) as response:
        assert (response.status, await response.read()) == (204, b"")


async def test_a_body_may_be_json_or_anything_else_by_its_type(client: Client) -> None:
    async with client.post("/either", json={"name": "a"}) as response:
        assert await response.json() == {"bytes": -1}
    async with client.post("/either", data=b"abc") as response:
        assert await response.json() == {"bytes": 3}


async def test_head_answers_where_get_does(client: Client) -> None:
    async with client.head("/text") as response:
        assert (response.status, await response.read()) == (200, b"")


def test_a_signature_that_cannot_be_served_is_refused_when_it_is_registered() -> None:
    routes = Routes("bad")

    class Lax(BaseModel):
        limit: int = 1

    async def unplaced(limit: int) -> None:
        """A parameter from nowhere."""

    async def lax(query: Annotated[Lax, Query()]) -> None:
        """A query that takes anything."""

    async def undocumented() -> None:
        pass

    for function in (unplaced, lax, undocumented):
        with pytest.raises(TypeError):
            routes.get("/bad")(function)


async def test_the_answer_is_what_json_would_write(client: Client) -> None:
    async with client.get("/samples?name=%C3%A4") as response:
        assert response.content_type == "application/json"
        assert json.loads(await response.read())[0]["name"] == "ä"

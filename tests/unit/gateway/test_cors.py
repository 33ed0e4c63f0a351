"""Which pages of other origins are let in."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import ValidationError

from services.gateway.api import mount
from services.gateway.edge import new_application
from services.gateway.metrics import open_metrics
from services.gateway.settings import Settings
from tests.unit.gateway.conftest import Client, routes

OURS = "https://maps.example.org"
ASK = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
Serve = Callable[..., AbstractAsyncContextManager[Client]]


@asynccontextmanager
async def serve(*origins: str) -> AsyncIterator[Client]:
    app = new_application(open_metrics(), upload_bytes=1000, upload_idle_seconds=1, origins=origins)
    mount(app, routes)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_page_on_the_list_may_ask_and_read() -> None:
    async with serve(OURS, "http://localhost:3000") as client:
        asked = await client.options("/samples", headers={"Origin": OURS, **ASK})
        assert asked.status == 204
        assert asked.headers["Access-Control-Allow-Origin"] == OURS
        assert asked.headers["Access-Control-Allow-Credentials"] == "true"
        assert "PATCH" in asked.headers["Access-Control-Allow-Methods"]
        assert "Idempotency-Key" in asked.headers["Access-Control-Allow-Headers"]
        assert int(asked.headers["Access-Control-Max-Age"]) > 0
        read = await client.get("/samples", headers={"Origin": OURS})
        assert read.headers["Access-Control-Allow-Origin"] == OURS
        assert read.headers["Vary"] == "Origin"
        for name in ("Link", "ETag", "Location", "Upload-Offset", "RateLimit", "Retry-After"):
            assert name in read.headers["Access-Control-Expose-Headers"].split(", ")


async def test_a_refusal_can_be_read_by_the_page_as_well() -> None:
    async with serve(OURS) as client:
        refused = await client.post("/samples", data=b"{", headers={"Origin": OURS})
        assert refused.status == 401
        assert refused.headers["Access-Control-Allow-Origin"] == OURS


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "https://maps.example.org.evil.example", "HTTPS://MAPS.EXAMPLE.ORG", ""],
)  # fmt: skip
async def test_a_page_that_is_not_on_the_list_is_told_nothing(origin: str) -> None:
    async with serve(OURS) as client:
        asked = await client.options("/samples", headers={"Origin": origin, **ASK})
        assert asked.status == 403
        assert (await asked.json(content_type=None))["code"] == "origin_not_allowed"
        read = await client.get("/samples", headers={"Origin": origin})
        for answer in (asked, read):
            assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert read.headers["Vary"] == "Origin"


async def test_without_a_list_no_page_is_let_in() -> None:
    async with serve() as client:
        asked = await client.options("/samples", headers={"Origin": OURS, **ASK})
        read = await client.get("/samples", headers={"Origin": OURS})
        assert (asked.status, read.status) == (403, 200)
        assert not [name for name in read.headers if name.startswith("Access-Control")]


async def test_every_page_is_let_in_only_without_credentials() -> None:
    async with serve("*") as client:
        for answer in (
            await client.options("/samples", headers={"Origin": "https://any.example", **ASK}),
            await client.get("/samples", headers={"Origin": "https://any.example"}),
        ):
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_an_options_request_that_asks_for_no_method_is_none_of_ours() -> None:
    async with serve(OURS) as client:
        assert (await client.options("/samples", headers={"Origin": OURS})).status == 405


def origins(monkeypatch: pytest.MonkeyPatch, text: str) -> tuple[str, ...]:
    """As the environment says them."""
    for name in ("DATABASE_URL", "AMQP_URL", "STORAGE_URL"):
        monkeypatch.setenv(f"GATEWAY_{name}", "x")
    monkeypatch.setenv("GATEWAY_CORS_ORIGINS", text)
    return Settings().cors_origins  # type: ignore[call-arg]


def test_the_list_is_read_and_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert origins(monkeypatch, "") == ()
    listed = origins(monkeypatch, f"{OURS} , http://localhost:3000,")
    assert listed == (OURS, "http://localhost:3000")
    assert origins(monkeypatch, "*") == ("*",)
    for wrong in (f"{OURS}/", "maps.example.org", f"*,{OURS}", "https://*.example.org", "null"):
        with pytest.raises(ValidationError):
            origins(monkeypatch, wrong)

"""Products whose objects are in a bucket: in ranges through the gateway, and straight from there."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from google_crc32c import value as crc32c
from pydantic import SecretStr

from services.gateway.app import checks, create_app, open_gateway
from services.gateway.settings import Settings
from shared.health import Health
from shared.process import Supervisor
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database
from tests.fixtures.objects import BUCKET, emulator, pieces, some_bytes, strict
from tests.fixtures.provider import Provider
from tests.integration.gateway.conftest import Api, Running, announce_kinds

__all__ = ["emulator", "strict"]  # fixtures
DATA = some_bytes(300_000)
NAME = "Straße 1.copc.laz"


@pytest.fixture(params=["emulator", "strict"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a place in each bucket in turn."""
    server = request.getfixturevalue(request.param)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", getattr(server, "url", server))
    return f"gs://{BUCKET}/{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
async def kinds(module_database: Database) -> None:
    await announce_kinds(module_database)


@pytest.fixture
async def place(
    kinds: None,
    bucket: str,
    module_database: Database,
    module_broker: Broker,
    provider: Provider,
) -> AsyncIterator[tuple[Api, str]]:
    """A gateway over a bucket, and the address of a product in it."""
    settings = Settings(
        database_url=SecretStr(module_database.url("gateway")),
        amqp_url=SecretStr(module_broker.url("gateway")),
        storage_url=bucket,
        signing_secret=SecretStr("a secret for tests of many letters"),
    )
    async with open_gateway(settings, Supervisor()) as gateway:
        app = create_app(gateway, Health(checks(gateway)))
        http = TestServer(app)
        await http.start_server(auto_decompress=False, access_log=None)
        async with aiohttp.ClientSession() as session:
            api = Api(session, f"http://{http.host}:{http.port}", module_database.api_key)
            key = f"jobs/{secrets.token_hex(4)}/1/{NAME}"
            await gateway.store.create(key, pieces(DATA))
            running = Running(gateway, api, api, api, module_database, Path(), app, provider)
            job = await api.make("/v1/jobs", kind="demo.print", params={"first": "a"})
            product = {
                "name": "copc",
                "object": key,
                "media_type": "application/vnd.laszip",
                "bytes": len(DATA),
                "crc32c": f"{crc32c(DATA):08x}",
                "sha256": hashlib.sha256(DATA).hexdigest(),
            }
            await running.finish(await running.claim(), {}, [product])
            yield api, f"/v1/jobs/{job['id']}/products/copc"
        gateway.live.close()
        await http.close()


async def test_it_is_handed_out_whole_and_in_ranges(place: tuple[Api, str]) -> None:
    api, address = place
    assert (await api("GET", address)).body == DATA
    part = await api("GET", address, headers={"Range": "bytes=-7"})
    assert (part.status, part.body) == (206, DATA[-7:])
    parts = await api("GET", address, headers={"Range": "bytes=0-1,200000-200009"})
    assert parts.status == 206
    assert DATA[200_000:200_010] in parts.body
    assert parts.headers["Content-Length"] == str(len(parts.body))
    beyond = await api("GET", address, headers={"Range": "bytes=300000-"})
    assert beyond.problem == (416, "range_not_satisfiable", [])


async def test_who_asks_is_led_to_the_bucket(place: tuple[Api, str]) -> None:
    api, address = place
    led = await api("GET", f"{address}?redirect=true", allow_redirects=False)
    assert (led.status, led.body) == (307, b"")
    assert led.headers["Cache-Control"] == "no-store"
    assert BUCKET in led.headers["Location"]
    followed = await api("GET", f"{address}?redirect=true")
    assert followed.body == DATA


async def test_a_signed_link_is_served_from_there(place: tuple[Api, str]) -> None:
    api, address = place
    made = await api.make(f"{address}/url")
    nobody = Api(api.session, api.base, None)
    assert (await nobody("GET", made["href"])).body == DATA

"""A part is away: what can still be done is done, the rest is a 503 that says so, nothing is half."""

import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.gateway.app import checks, create_app, open_gateway
from services.gateway.settings import Settings
from shared.health import Health
from shared.process import Supervisor
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database
from tests.integration.gateway.conftest import Api

NOWHERE = "127.0.0.1:1"


@asynccontextmanager
async def served(database_url: str, amqp_url: str, storage: Path, key: str) -> AsyncIterator[Api]:
    settings = Settings(
        database_url=SecretStr(database_url),
        amqp_url=SecretStr(amqp_url),
        storage_url=f"file://{storage}",
    )
    async with open_gateway(settings, Supervisor()) as gateway:
        server = TestServer(create_app(gateway, Health(checks(gateway))))
        await server.start_server(access_log=None)
        async with aiohttp.ClientSession() as session:
            yield Api(session, f"http://{server.host}:{server.port}", key)
        await server.close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_without_a_database_every_request_is_a_503_that_says_so(
    module_database: Database, module_broker: Broker, tmp_path: Path
) -> None:
    url = f"postgresql://gateway@{NOWHERE}/pointmill"
    async with served(url, module_broker.url("gateway"), tmp_path, module_database.api_key) as api:
        for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/clouds?name=a.laz")):
            answer = await api(method, path, data=b"x" if method == "POST" else None)
            assert answer.problem == (503, "database_unavailable", [])
            assert answer.headers["Retry-After"] == "5"
        ready = await api("GET", "/readyz")
        assert ready.status == 503
        assert "PostgreSQL did not answer" in ready.json["checks"]["database"]
        assert (await api("GET", "/livez")).status == 200
    assert files(tmp_path) == []


async def test_without_a_broker_jobs_are_accepted_and_kept_to_be_told(
    module_database: Database, tmp_path: Path
) -> None:
    database = module_database
    async with served(
        database.url("gateway"), f"amqp://gateway:x@{NOWHERE}/", tmp_path, database.api_key
    ) as api:
        made = await api("POST", "/v1/clouds?name=a.laz", data=b"LASF")
        assert made.status == 201
        job = made.json["job"]["id"]
        assert (await api("POST", f"/v1/jobs/{job}/cancel")).status == 202
        ready = await api("GET", "/readyz")
        assert (ready.status, ready.json["checks"]["database"]) == (503, "ok")
        assert ready.json["checks"]["broker"] != "ok"
    async with database.connected() as connection:
        kept = await connection.fetchval(
            "select array_agg(rings order by id) from outbox where message ->> 'subject' = $1", job
        )
    # The job was queued, which rings for it, and cancelled.
    assert kept == ["default", None]


async def test_without_a_store_no_upload_is_accepted(
    module_database: Database, module_broker: Broker, tmp_path: Path
) -> None:
    database, storage = module_database, tmp_path / "store"
    async with served(
        database.url("gateway"), module_broker.url("gateway"), storage, database.api_key
    ) as api:
        name = f"{uuid.uuid4().hex}.laz"
        shutil.rmtree(storage)
        storage.write_text("not a folder")
        answer = await api("POST", f"/v1/clouds?name={name}", data=b"LASF")
        assert answer.problem == (503, "storage_unavailable", [])
        assert name not in (await api("GET", "/v1/clouds")).body.decode()
        assert (await api("GET", "/readyz")).json["checks"]["storage"] != "ok"

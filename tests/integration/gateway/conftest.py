"""The real gateway in this process, on a real database, broker and folder; two workspaces."""

import secrets
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from services.gateway.app import checks, create_app, open_gateway
from services.gateway.resources import Gateway
from services.gateway.settings import Settings
from shared.health import Health
from shared.process import Supervisor
from sql.bootstrap import bootstrap
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database
from tests.fixtures.provider import CLIENT, SECRET, Provider, serve_provider
from tests.integration.gateway.contract import Contract

OTHER_WORKSPACE = uuid.UUID("00000000-0000-7000-8000-0000000000ff")
PUBLIC_URL = "https://pointmill.example"
AUDIENCE = "https://pointmill.example/api"
KINDS = {
    "demo.print": (False, {"first": {"type": "string"}, "second": {"type": "integer"}}),
    "demo.gather": (False, {}),
    "file.checksum": (True, {}),
    "pointcloud.ingest": (True, {}),
}
INPUTS = {"demo.gather": ["*"], "file.checksum": ["other"]}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def problem(self) -> tuple[int, str, list[str]]:
        """Status, code and the fields named; the media type is checked on the way."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        document = self.json
        assert document["status"] == self.status
        return self.status, document["code"], [one["field"] for one in document["errors"]]


@dataclass(frozen=True)
class Api:
    """A client of the gateway under one key."""

    session: aiohttp.ClientSession
    base: str
    key: str | None
    contract: Contract | None = None

    async def __call__(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        given = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        async with self.session.request(
            method, self.base + path, data=data, headers={**given, **(headers or {})}, **options
        ) as response:
            answer = Answer(response.status, response.headers, await response.read())
        if self.contract is not None:
            media_type = answer.headers.get("Content-Type", "")
            self.contract.check(method, path, answer.status, media_type, answer.body)
        return answer

    async def make(self, path: str, **fields: Any) -> Any:
        answer = await self("POST", path, json=fields)
        assert answer.status in {201, 202}, answer.body
        return answer.json


@dataclass(frozen=True)
class Running:
    gateway: Gateway
    api: Api
    other: Api
    nobody: Api
    database: Database
    storage: Path
    app: web.Application
    provider: Provider

    def stored(self) -> list[Path]:
        """Every object and every unfinished piece in the store."""
        return [path for path in self.storage.rglob("*") if path.is_file()]

    async def claim(self) -> Any:
        """Take up the next job as a processor would."""
        async with self.database.connected("processor") as connection:
            return await connection.fetchrow(
                "select * from claim_job('test', $1, 60, $2)", list(KINDS), uuid.uuid4()
            )

    async def finish(self, job: Any, result: dict[str, Any], products: list[Any] = []) -> None:  # noqa: B006 - read only
        async with self.database.connected("processor") as connection:
            assert await connection.fetchval(
                "select finish_job($1, $2, $3, $4, '')",
                job["id"],
                job["attempt"],
                orjson.dumps(result).decode(),
                orjson.dumps(products).decode(),
            )


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[Provider]:
    async with serve_provider() as served:
        yield served


@pytest.fixture(scope="module")
async def running(
    provider: Provider,
    module_database: Database,
    module_broker: Broker,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Running]:
    storage = tmp_path_factory.mktemp("objects")
    settings = Settings(
        database_url=SecretStr(module_database.url("gateway")),
        amqp_url=SecretStr(module_broker.url("gateway")),
        storage_url=f"file://{storage}",
        max_upload_bytes=4_000_000,
        upload_idle_seconds=1,
        stream_seconds=20,
        signing_secret=SecretStr("a secret for tests of many letters"),
        public_url=PUBLIC_URL,
        oidc_issuer=provider.issuer,
        oidc_audience=AUDIENCE,
        oidc_client_id=CLIENT,
        oidc_client_secret=SecretStr(SECRET),
    )
    other_key = f"pm_{secrets.token_hex(4)}_{secrets.token_hex(24)}"
    await bootstrap(
        module_database.owner_url, other_key, None, "other", OTHER_WORKSPACE, operator=False
    )
    await announce_kinds(module_database)
    async with open_gateway(settings, Supervisor()) as gateway:
        app = create_app(gateway, Health(checks(gateway)))
        server = TestServer(app)
        await server.start_server(auto_decompress=False, access_log=None)
        async with aiohttp.ClientSession() as session:
            base = f"http://{server.host}:{server.port}"
            document = await Api(session, base, None)("GET", "/openapi.json")
            contract = Contract(document.json)
            api, other, nobody = (
                Api(session, base, key, contract)
                for key in (module_database.api_key, other_key, None)
            )
            yield Running(gateway, api, other, nobody, module_database, storage, app, provider)
        gateway.live.close()
        await server.close()


async def announce_kinds(database: Database) -> None:
    async with database.connected("processor") as connection:
        for kind, (needs_source, properties) in KINDS.items():
            schema = {
                "type": "object",
                "properties": properties,
                "required": list(properties)[:1],
                "additionalProperties": False,
            }
            await connection.execute(
                "insert into kinds (kind, title, description, params_schema, result_schema, pool,"
                " needs_source, attempts, backoff_seconds, run_seconds, start_seconds, version, inputs)"
                " values ($1, $1, '', $2, '{}', 'default', $3, 3, 2, 60, 600, 1, $4)",
                kind,
                orjson.dumps(schema).decode(),
                needs_source,
                INPUTS.get(kind, []),
            )


@pytest.fixture
def api(running: Running) -> Api:
    return running.api


@pytest.fixture
def other(running: Running) -> Api:
    return running.other

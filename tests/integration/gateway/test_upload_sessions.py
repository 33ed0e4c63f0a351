"""A file that the client sends to the bucket itself: asked for, sent, looked at, taken."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

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
from tests.fixtures.objects import BUCKET, some_bytes, strict
from tests.fixtures.strict_gcs import QUANTUM, StrictGcs
from tests.integration.gateway.conftest import Answer, Api, announce_kinds

__all__ = ["strict"]  # a fixture
DATA = some_bytes(QUANTUM + 1000)
CRC = f"{crc32c(DATA):08x}"


@dataclass(frozen=True)
class Place:
    """A gateway over a strict bucket, and an empty cloud."""

    api: Api
    gcs: StrictGcs
    cloud: str

    async def ask(self, **said: Any) -> Answer:
        order = {"name": "a.laz", "bytes": len(DATA), **said}
        return await self.api("POST", f"/v1/clouds/{self.cloud}/upload-session", json=order)

    async def complete(self, session: str, **said: Any) -> Answer:
        order = {"session": session, "name": "a.laz", "bytes": len(DATA), "crc32c": CRC, **said}
        address = f"/v1/clouds/{self.cloud}/upload-session/complete"
        return await self.api("POST", address, json=order)

    async def send(self, url: str, data: bytes, place: str) -> int:
        headers = {"Content-Range": f"bytes {place}"}
        async with self.api.session.put(
            url, data=data, headers=headers, allow_redirects=False
        ) as sent:
            return sent.status


@pytest.fixture(scope="module")
async def kinds(module_database: Database) -> None:
    await announce_kinds(module_database)


@pytest.fixture
async def place(
    kinds: None,
    strict: StrictGcs,
    module_database: Database,
    module_broker: Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Place]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", strict.url)
    settings = Settings(
        database_url=SecretStr(module_database.url("gateway")),
        amqp_url=SecretStr(module_broker.url("gateway")),
        storage_url=f"gs://{BUCKET}/{secrets.token_hex(4)}",
        max_upload_bytes=1_000_000_000,
    )
    async with open_gateway(settings, Supervisor()) as gateway:
        http = TestServer(create_app(gateway, Health(checks(gateway))))
        await http.start_server(auto_decompress=False, access_log=None)
        async with aiohttp.ClientSession() as session:
            api = Api(session, f"http://{http.host}:{http.port}", module_database.api_key)
            cloud = await api.make("/v1/clouds", name="a.laz")
            yield Place(api, strict, cloud["id"])
        gateway.live.close()
        await http.close()


async def test_a_file_sent_in_parts_becomes_the_clouds_and_is_milled_once(place: Place) -> None:
    asked = await place.ask()
    assert asked.status == 201
    session, url = asked.json["id"], asked.json["url"]
    assert await place.send(url, DATA[:QUANTUM], f"0-{QUANTUM - 1}/*") == 308
    assert (await place.complete(session)).problem == (409, "upload_incomplete", [])
    size = len(DATA)
    assert await place.send(url, DATA[QUANTUM:], f"{QUANTUM}-{size - 1}/{size}") == 200
    done = await place.complete(session)
    assert done.status == 201
    assert done.headers["Location"] == f"/v1/clouds/{place.cloud}"
    source = {"name": "a.laz", "bytes": size, "crc32c": CRC}
    assert (done.json["cloud"]["source"], done.json["cloud"]["state"]) == (source, "stored")
    assert done.json["job"]["kind"] == "pointcloud.ingest"
    again = await asyncio.gather(*(place.complete(session) for _ in range(3)))
    assert [one.status for one in again] == [200] * 3, "who lost the answer gets it again"
    assert {one.json["job"]["id"] for one in again} == {done.json["job"]["id"]}
    other = await place.complete(uuid.uuid4().hex)
    assert other.problem == (409, "cloud_already_stored", [])
    assert (await place.ask()).problem == (409, "cloud_already_stored", [])
    jobs = (await place.api("GET", f"/v1/jobs?cloud={place.cloud}")).json["items"]
    assert [job["id"] for job in jobs] == [done.json["job"]["id"]]


async def test_of_many_that_complete_at_once_one_makes_the_job(place: Place) -> None:
    asked = (await place.ask()).json
    await place.send(asked["url"], DATA, f"0-{len(DATA) - 1}/{len(DATA)}")
    done = await asyncio.gather(*(place.complete(asked["id"]) for _ in range(6)))
    assert sorted(one.status for one in done) == [200] * 5 + [201]
    assert len({one.json["job"]["id"] for one in done}) == 1


async def test_other_bytes_than_the_client_has_are_not_taken(place: Place) -> None:
    asked = (await place.ask()).json
    sent = await place.send(asked["url"], DATA, f"0-{len(DATA) - 1}/{len(DATA)}")
    assert sent == 200
    wrong = await place.complete(asked["id"], crc32c="00000000")
    assert wrong.problem == (422, "checksum_mismatch", ["crc32c"])
    wrong = await place.complete(asked["id"], bytes=len(DATA) + 1)
    assert wrong.problem == (422, "length_mismatch", ["bytes"])
    assert (await place.complete(asked["id"])).status == 201, "a wrong word spoils nothing"


async def test_the_bucket_is_told_the_length_and_the_page_that_sends(place: Place) -> None:
    url = (await place.ask()).json["url"]
    assert await place.send(url, DATA[:-1], f"0-{len(DATA) - 2}/{len(DATA) - 1}") == 400
    order = {"name": "a.laz", "bytes": 5}
    await place.api(
        "POST",
        f"/v1/clouds/{place.cloud}/upload-session",
        json=order,
        headers={"Origin": "https://maps.example.org"},
    )
    begun = [(one.length, one.origin) for one in place.gcs.sessions.values()]
    assert begun == [(str(len(DATA)), ""), ("5", "https://maps.example.org")]


async def test_a_file_that_may_be_collected_meanwhile_is_not_taken(place: Place) -> None:
    asked = (await place.ask()).json
    await place.send(asked["url"], DATA, f"0-{len(DATA) - 1}/{len(DATA)}")
    for resource, _ in place.gcs.objects.values():
        resource["updated"] = (datetime.now(UTC) - timedelta(hours=13)).isoformat()
    assert (await place.complete(asked["id"])).problem == (409, "upload_expired", [])


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"bytes": 0}, (422, "invalid_request", ["bytes"])),
        ({"bytes": -1}, (422, "invalid_request", ["bytes"])),
        ({"bytes": 2**63}, (422, "invalid_request", ["bytes"])),
        ({"bytes": 1_000_000_001}, (413, "object_too_large", ["bytes"])),
        ({"name": "a.txt"}, (422, "unsupported_extension", ["name"])),
        ({"name": "../a.laz"}, (422, "invalid_request", ["name"])),
    ],
)
async def test_what_cannot_become_a_clouds_file_gets_no_session(
    place: Place, said: dict[str, Any], problem: tuple[int, str, list[str]]
) -> None:
    assert (await place.ask(**said)).problem == problem
    assert not place.gcs.sessions


async def test_a_session_is_good_for_its_own_cloud_only(place: Place) -> None:
    asked = (await place.ask()).json
    await place.send(asked["url"], DATA, f"0-{len(DATA) - 1}/{len(DATA)}")
    other = Place(
        place.api,
        place.gcs,
        (await place.api.make("/v1/clouds", name="b.laz"))["id"],
    )
    assert (await other.complete(asked["id"])).problem == (409, "upload_incomplete", [])
    assert (await place.complete("../" + "0" * 29)).problem[:2] == (422, "invalid_request")

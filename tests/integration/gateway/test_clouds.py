"""Clouds and their files over HTTP: real Postgres, real broker, a real folder."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google_crc32c import value as crc32c

from tests.integration.gateway.conftest import Api, Running

FILE = bytes(range(256)) * 1000
SUM = f"{crc32c(FILE):08x}"


async def outbox_is_empty(running: Running) -> bool:
    async with running.database.connected() as connection:
        return bool(await connection.fetchval("select not exists (select from outbox)"))


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_file_becomes_a_cloud_and_a_job_in_one_request(
    running: Running, method: str
) -> None:
    """As `curl -T` sends it (PUT, no content type) or `curl -X POST -T`."""
    answer = await running.api(method, "/v1/clouds?name=town.laz", data=FILE)
    assert answer.status == 201
    cloud, job = answer.json["cloud"], answer.json["job"]
    assert answer.headers["Location"] == f"/v1/clouds/{cloud['id']}"
    assert cloud["name"] == "town.laz"
    assert cloud["state"] == "stored"
    assert cloud["source"] == {"name": "town.laz", "bytes": len(FILE), "crc32c": SUM}
    assert cloud["job"] == job["id"]
    assert cloud["summary"] is None
    assert (job["kind"], job["state"], job["cloud"]) == ("pointcloud.ingest", "queued", cloud["id"])
    assert (await running.api("GET", f"/v1/clouds/{cloud['id']}")).json == cloud
    assert [path.read_bytes() for path in running.stored() if cloud["id"] in str(path)] == [FILE]


async def test_what_was_accepted_is_told_to_the_bus(running: Running) -> None:
    await running.api("POST", "/v1/clouds?name=told.las", data=FILE)
    async with asyncio.timeout(10):
        while not await outbox_is_empty(running):
            await asyncio.sleep(0.05)


async def test_a_form_content_type_is_a_file_too(api: Api) -> None:
    """As `curl --data-binary` sends it."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await api("POST", "/v1/clouds?name=a.LAZ", data=FILE, headers=headers)
    assert answer.status == 201


async def test_an_empty_cloud_takes_its_file_later_and_only_once(running: Running) -> None:
    api = running.api
    cloud = await api.make("/v1/clouds", name="later", properties={"epsg": 4326})
    assert (cloud["state"], cloud["source"], cloud["job"]) == ("empty", None, None)
    path = f"/v1/clouds/{cloud['id']}/file"
    stored = await api("PUT", f"{path}?name=later.las", data=FILE)
    assert stored.status == 201
    assert stored.json["cloud"]["state"] == "stored"
    assert stored.json["cloud"]["job"] == stored.json["job"]["id"]
    before = running.stored()
    again = await api("PUT", f"{path}?name=later.las", data=FILE)
    assert again.problem == (409, "cloud_already_stored", [])
    assert running.stored() == before


async def test_of_two_uploads_at_once_one_stays(running: Running) -> None:
    cloud = await running.api.make("/v1/clouds", name="raced.laz")
    path = f"/v1/clouds/{cloud['id']}/file"
    answers = await asyncio.gather(*(running.api("PUT", path, data=FILE) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert len([one for one in running.stored() if cloud["id"] in str(one)]) == 1


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize(
    ("query", "body", "problem"),
    [
        ("", FILE, (422, "invalid_request", ["name"])),
        ("?name=a.xyz", FILE, (422, "unsupported_extension", ["name"])),
        ("?name=laz", FILE, (422, "unsupported_extension", ["name"])),
        ("?name=..%2Fa.laz", FILE, (422, "invalid_request", ["name"])),
        ("?name=a%00.laz", FILE, (422, "invalid_request", ["name"])),
        ("?name=a.laz&colour=1", FILE, (422, "invalid_request", ["colour"])),
        ("?name=a.laz&crc32c=00000000", FILE, (422, "checksum_mismatch", [])),
        ("?name=a.laz", b"", (422, "empty_file", ["body"])),
        ("?name=a.laz", b"x" * 4_000_001, (413, "object_too_large", ["body"])),
        (f"?name=a.laz&project={uuid.UUID(int=1)}", FILE, (404, "project_not_found", ["project"])),
    ],
)
async def test_a_bad_upload_is_refused_and_leaves_nothing(
    running: Running, query: str, body: bytes, problem: Any
) -> None:
    before, clouds = running.stored(), (await running.api("GET", "/v1/clouds")).json
    announced = await running.api("POST", f"/v1/clouds{query}", data=pieces(body))
    assert announced.problem == problem
    if len(body) < 1_000_000:
        plain = await running.api("POST", f"/v1/clouds{query}", data=body)
        assert plain.problem == problem
    assert running.stored() == before
    assert (await running.api("GET", "/v1/clouds")).json == clouds


async def test_the_sum_the_client_gives_is_checked(api: Api) -> None:
    answer = await api("POST", f"/v1/clouds?name=sum.laz&crc32c={SUM}", data=FILE)
    assert answer.status == 201


async def test_a_file_finds_or_makes_its_project(api: Api) -> None:
    first, second = await asyncio.gather(
        *(api("POST", "/v1/clouds?name=a.laz&project_name=new", data=FILE) for _ in range(2))
    )
    assert first.json["cloud"]["project"] == second.json["cloud"]["project"]
    project = await api("GET", f"/v1/projects/{first.json['cloud']['project']}")
    assert project.json["name"] == "new"
    listed = await api("GET", f"/v1/clouds?project={project.json['id']}&state=stored")
    assert len(listed.json["items"]) == 2


@pytest.mark.parametrize("sent", [b"", b"x" * 100_000])
@pytest.mark.parametrize("stalls", [True, False])
async def test_a_cut_or_stalled_upload_leaves_nothing(
    running: Running, sent: bytes, stalls: bool
) -> None:
    before = running.stored()
    host, port = running.api.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"POST /v1/clouds?name=cut.laz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.api.key}\r\n"
        "Content-Length: 200000\r\n\r\n".encode()
        + sent
    )
    await writer.drain()
    if stalls:
        async with asyncio.timeout(10):
            assert b" 408 " in await reader.readline()
    writer.close()
    async with asyncio.timeout(10):
        while running.stored() != before:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    assert running.stored() == before


async def test_a_cloud_is_changed_and_deleted(running: Running) -> None:
    api = running.api
    made = (await api("POST", "/v1/clouds?name=gone.laz", data=FILE)).json
    path = f"/v1/clouds/{made['cloud']['id']}"
    changed = await api("PATCH", path, json={"name": "renamed", "properties": {"a": 1}})
    assert (changed.json["name"], changed.json["properties"]) == ("renamed", {"a": 1})
    assert changed.json["source"]["name"] == "gone.laz"
    stale = await api("PATCH", path, json={"name": "x"}, headers={"If-Match": '"v1"'})
    assert stale.problem == (412, "precondition_failed", [])
    assert (await api("DELETE", path)).status == 204
    for method, suffix in (("GET", ""), ("DELETE", ""), ("GET", "/products"), ("PUT", "/file")):
        answer = await api(method, path + suffix, data=FILE if method == "PUT" else None)
        assert answer.problem == (404, "cloud_not_found", [])
    job = (await api("GET", f"/v1/jobs/{made['job']['id']}")).json
    assert (job["state"], job["cloud"]) == ("cancelled", None)


async def test_what_is_said_of_an_empty_cloud_goes_into_the_body(api: Api) -> None:
    answer = await api("POST", "/v1/clouds?name=a.laz", json={"name": "b"})
    assert answer.problem == (422, "invalid_request", ["name"])


async def test_a_folder_has_no_sessions(running: Running) -> None:
    cloud = await running.api.make("/v1/clouds", name="a.laz")
    order = {"name": "a.laz", "bytes": 5}
    asked = await running.api("POST", f"/v1/clouds/{cloud['id']}/upload-session", json=order)
    assert asked.problem == (409, "no_upload_sessions", [])
    said = {"session": uuid.uuid4().hex, "name": "a.laz", "bytes": 5, "crc32c": "00000000"}
    address = f"/v1/clouds/{cloud['id']}/upload-session/complete"
    done = await running.api("POST", address, json=said)
    assert done.problem == (409, "upload_incomplete", [])

"""Products over HTTP: listed, downloaded whole and in ranges, of a real folder."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google_crc32c import value as crc32c

from tests.integration.gateway.conftest import Running

BYTES = bytes(range(256)) * 500
SHA = hashlib.sha256(BYTES).hexdigest()


async def content() -> AsyncIterator[bytes]:
    yield BYTES


@pytest.fixture(scope="module")
async def milled(running: Running) -> dict[str, Any]:
    """A cloud whose ingest has succeeded with two products."""
    made = (await running.api("POST", "/v1/clouds?name=Straße 1.laz", data=b"LASF")).json
    job = await running.claim()
    assert str(job["id"]) == made["job"]["id"]
    products = []
    for name, base in (("copc", "Straße 1.copc.laz"), ("info", "info.json")):
        key = f"{job['workspace_id']}/jobs/{job['id']}/1/{base}"
        await running.gateway.store.create(key, content())
        products.append(
            {
                "name": name,
                "object": key,
                "media_type": "application/json" if name == "info" else "application/vnd.laszip",
                "bytes": len(BYTES),
                "crc32c": f"{crc32c(BYTES):08x}",
                "sha256": SHA,
            }
        )
    await running.finish(job, {"points": 12}, products)
    return {"cloud": made["cloud"]["id"], "job": made["job"]["id"]}


@pytest.fixture(scope="module", params=["cloud", "job"])
def place(milled: dict[str, Any], request: pytest.FixtureRequest) -> str:
    return f"/v1/{request.param}s/{milled[request.param]}/products"


async def test_products_are_listed_with_their_address(
    running: Running, milled: dict[str, Any], place: str
) -> None:
    items = (await running.api("GET", place)).json["items"]
    assert [item["name"] for item in items] == ["copc", "info"]
    copc = items[0]
    assert (copc["bytes"], copc["sha256"], copc["job"]) == (len(BYTES), SHA, milled["job"])
    assert copc["href"] == f"{place}/copc"
    assert (await running.api("GET", copc["href"])).body == BYTES


async def test_a_cloud_shows_what_was_found_in_it(running: Running, milled: dict[str, Any]) -> None:
    cloud = (await running.api("GET", f"/v1/clouds/{milled['cloud']}")).json
    assert cloud["summary"] == {"points": 12}
    assert cloud["job"] == milled["job"]


async def test_a_download_is_a_file_with_a_name_and_a_tag(running: Running, place: str) -> None:
    answer = await running.api("GET", f"{place}/copc")
    assert answer.headers["Content-Type"] == "application/vnd.laszip"
    assert answer.headers["ETag"] == f'"{SHA}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Length"] == str(len(BYTES))
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename=")
    if "/clouds/" in place:
        assert disposition.endswith("filename*=UTF-8''Stra%C3%9Fe%201.copc.laz")
        info = await running.api("HEAD", f"{place}/info")
        named = info.headers["Content-Disposition"]
        assert named.endswith("filename*=UTF-8''Stra%C3%9Fe%201.info.json")
    head = await running.api("HEAD", f"{place}/copc")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(BYTES))
    same = await running.api("GET", f"{place}/copc", headers={"If-None-Match": f'"{SHA}"'})
    assert (same.status, same.body) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=127990-", 127_990, 128_000),
        ("bytes=-5", 127_995, 128_000),
        ("bytes=100-999999999", 100, 128_000),
    ],
)
async def test_a_range_is_that_part_exactly(
    running: Running, place: str, asked: str, start: int, end: int
) -> None:
    answer = await running.api("GET", f"{place}/copc", headers={"Range": asked})
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(BYTES)}"
    assert answer.body == BYTES[start:end]


@pytest.mark.parametrize("asked", ["bytes=128000-", "bytes=999999-1000000", "bytes=-0"])
async def test_a_range_outside_the_file_is_refused(
    running: Running, place: str, asked: str
) -> None:
    answer = await running.api("GET", f"{place}/copc", headers={"Range": asked})
    assert answer.problem == (416, "range_not_satisfiable", [])
    assert answer.headers["Content-Range"] == f"bytes */{len(BYTES)}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=0-1,5-6", "lines=1-2", "bytes=-", "x"])
async def test_a_range_that_is_none_is_ignored(running: Running, place: str, asked: str) -> None:
    answer = await running.api("GET", f"{place}/info", headers={"Range": asked})
    assert (answer.status, answer.body) == (200, BYTES)


async def test_a_range_of_another_version_is_the_whole(running: Running, place: str) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
    answer = await running.api("GET", f"{place}/info", headers=headers)
    assert (answer.status, answer.body) == (200, BYTES)


async def test_a_missing_product_is_named(running: Running, place: str) -> None:
    answer = await running.api("GET", f"{place}/preview")
    assert answer.problem == (404, "product_not_found", [])
    assert "copc, info" in answer.json["detail"]

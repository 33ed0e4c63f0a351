"""Products over HTTP: listed, downloaded whole and in ranges, of a real folder."""

import asyncio
import base64
import hashlib
import io
import re
import struct
from collections.abc import AsyncIterator
from typing import Any
from zipfile import ZipFile

import pytest
from google_crc32c import value as crc32c

from tests.integration.gateway.conftest import Running

BYTES = bytes(range(256)) * 500
SHA = hashlib.sha256(BYTES).hexdigest()


async def content(data: bytes) -> AsyncIterator[bytes]:
    yield data


TILES = {"tileset.json": b'{"asset":{"version":"1.1"}}', "0-0-0-0.glb": bytes(range(256)) * 9}


def archive_of(members: dict[str, bytes]) -> bytes:
    """A 3D Tiles Archive, made by hand."""
    made = io.BytesIO()
    with ZipFile(made, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        places = sorted(
            (struct.unpack("<QQ", hashlib.md5(one.filename.encode()).digest()), one.header_offset)  # noqa: S324
            for one in archive.infolist()
        )
        index = b"".join(struct.pack("<QQQ", *digest, at) for digest, at in places)
        archive.writestr("@3dtilesIndex1@", index)
    return made.getvalue()


ARCHIVE = archive_of(TILES)


@pytest.fixture(scope="module")
async def milled(running: Running) -> dict[str, Any]:
    """A cloud whose ingest has succeeded with three products."""
    made = (await running.api("POST", "/v1/clouds?name=Straße 1.laz", data=b"LASF")).json
    job = await running.claim()
    assert str(job["id"]) == made["job"]["id"]
    products = []
    for name, base, media_type, data in (
        ("copc", "Straße 1.copc.laz", "application/vnd.laszip", BYTES),
        ("info", "info.json", "application/json", BYTES),
        ("tiles3d", "tiles.3tz", "application/vnd.maxar.archive.3tz+zip", ARCHIVE),
    ):
        key = f"{job['workspace_id']}/jobs/{job['id']}/1/{base}"
        await running.gateway.store.create(key, content(data))
        products.append(
            {
                "name": name,
                "object": key,
                "media_type": media_type,
                "bytes": len(data),
                "crc32c": f"{crc32c(data):08x}",
                "sha256": hashlib.sha256(data).hexdigest(),
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
    assert [item["name"] for item in items] == ["copc", "info", "tiles3d"]
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


@pytest.mark.parametrize(
    "asked",
    [
        *(
            "bytes=5-2",
            "lines=1-2",
            "bytes=-",
            "x",
            "bytes=0-1,x",
            "bytes=0-9,5-20",
            "bytes=9-9,0-0",
        ),
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 34, 2)),
    ],
)
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
    assert "copc, info, tiles3d" in answer.json["detail"]


async def test_several_ranges_come_in_parts(running: Running, place: str) -> None:
    asked = {"Range": "bytes=0-9, 100-199,127990-999999,-5,128000-"}
    # The last but one lies in the one before, so the whole is the answer; without it, three parts.
    assert (await running.api("GET", f"{place}/copc", headers=asked)).status == 200
    asked = {"Range": "bytes=0-9, 100-199,-5,128000-"}
    answer = await running.api("GET", f"{place}/copc", headers=asked)
    assert answer.status == 206
    assert "Content-Range" not in answer.headers
    found = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", answer.headers["Content-Type"])
    assert found
    before, *parts, after = answer.body.split(f"--{found[1]}".encode())
    assert (before, after) == (b"\r\n", b"--\r\n")
    for part, (start, end) in zip(parts, [(0, 10), (100, 200), (127_995, 128_000)], strict=True):
        head, _, data = part.partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[1:] == [
            b"Content-Type: application/vnd.laszip",
            f"Content-Range: bytes {start}-{end - 1}/{len(BYTES)}".encode(),
        ]
        assert data == BYTES[start:end] + b"\r\n"


async def test_a_head_knows_no_ranges(running: Running, place: str) -> None:
    head = await running.api("HEAD", f"{place}/copc", headers={"Range": "bytes=0-9"})
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(BYTES)))
    head = await running.api("HEAD", f"{place}/copc", headers={"Range": "bytes=999999-"})
    assert head.status == 200


async def test_a_range_of_this_version_is_a_range(running: Running, place: str) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": f'"{SHA}"'}
    assert (await running.api("GET", f"{place}/info", headers=headers)).status == 206
    headers["If-Range"] = f'W/"{SHA}"'  # a weak one says nothing of bytes
    assert (await running.api("GET", f"{place}/info", headers=headers)).status == 200
    headers["If-Range"] = "Tue, 24 Nov 2026 10:00:00 GMT"
    assert (await running.api("GET", f"{place}/info", headers=headers)).status == 200


async def test_who_expects_another_file_gets_none(running: Running, place: str) -> None:
    for tag in ('"other"', f'W/"{SHA}"'):
        answer = await running.api("GET", f"{place}/info", headers={"If-Match": tag})
        assert answer.problem == (412, "precondition_failed", [])
    for tag in ("*", f'"other", "{SHA}"'):
        answer = await running.api("HEAD", f"{place}/info", headers={"If-Match": tag})
        assert answer.status == 200


async def test_what_never_changes_is_kept_by_its_reader_alone(running: Running, place: str) -> None:
    head = await running.api("HEAD", f"{place}/info")
    caching = "private, max-age=31536000, immutable" if "/jobs/" in place else "private, no-cache"
    assert head.headers["Cache-Control"] == caching
    assert head.headers["Vary"] == "Authorization, Cookie"
    digest = base64.b64encode(hashlib.sha256(BYTES).digest()).decode()
    assert head.headers["Repr-Digest"] == f"sha-256=:{digest}:"


async def test_a_product_is_found_by_its_files_name(running: Running, place: str) -> None:
    answer = await running.api("GET", f"{place}/Straße 1.copc.laz")
    assert answer.body == BYTES
    assert (await running.api("GET", f"{place}/info.json")).body == BYTES


async def test_a_folder_has_no_address_to_lead_to(running: Running, place: str) -> None:
    answer = await running.api("GET", f"{place}/info?redirect=true")
    assert (answer.status, answer.body) == (200, BYTES)
    answer = await running.api("GET", f"{place}/info?redirct=true")
    assert answer.problem == (422, "invalid_request", ["redirct"])


async def test_single_tiles_come_out_of_the_archive(running: Running, place: str) -> None:
    tileset = await running.api("GET", f"{place}/tiles3d/tileset.json")
    assert tileset.headers["Content-Type"] == "application/json"
    assert tileset.body == TILES["tileset.json"]
    tile = await running.api("GET", f"{place}/tiles.3tz/0-0-0-0.glb")
    assert tile.headers["Content-Type"] == "model/gltf-binary"
    assert tile.body == TILES["0-0-0-0.glb"]
    part = await running.api(
        "GET", f"{place}/tiles3d/0-0-0-0.glb", headers={"Range": "bytes=250-259"}
    )
    assert (part.status, part.body) == (206, TILES["0-0-0-0.glb"][250:260])
    headers = {"If-None-Match": tile.headers["ETag"]}
    assert (await running.api("GET", f"{place}/tiles3d/0-0-0-0.glb", headers=headers)).status == 304
    missing = await running.api("GET", f"{place}/tiles3d/9-9-9-9.glb")
    assert missing.problem == (404, "product_member_not_found", [])
    none = await running.api("GET", f"{place}/copc/tileset.json")
    assert none.problem == (422, "not_an_archive", [])
    strange = await running.api("GET", f"{place}/tiles3d/.hidden")
    assert strange.problem == (422, "invalid_request", ["member"])


async def test_a_signed_link_opens_one_file_without_a_key(
    running: Running, place: str, milled: dict[str, Any]
) -> None:
    made = await running.api.make(f"{place}/copc/url", seconds=60)
    answer = await running.nobody("GET", made["href"])
    assert (answer.status, answer.body) == (200, BYTES)
    assert re.fullmatch(r"private, max-age=\d\d, immutable", answer.headers["Cache-Control"])
    part = await running.nobody("GET", made["href"], headers={"Range": "bytes=1-2"})
    assert part.body == BYTES[1:3]
    # A relative link in the file leads to a name that the link is not good for.
    sibling = made["href"].rpartition("/")[0] + "/info.json"
    assert (await running.nobody("GET", sibling)).problem == (404, "product_not_found", [])
    tiles = (await running.api.make(f"{place}/tiles3d/url"))["href"]
    tile = await running.nobody("GET", f"{tiles}/0-0-0-0.glb")
    assert tile.body == TILES["0-0-0-0.glb"]
    assert milled["job"] not in made["href"]


async def test_a_link_that_is_over_or_made_up_is_refused(running: Running, place: str) -> None:
    href = (await running.api.make(f"{place}/copc/url", seconds=1))["href"]
    ticket = href.split("/")[3]
    for other in (ticket[:-1], ticket + "A", "A" + ticket[1:], ticket[::-1], "AAAA"):
        answer = await running.nobody("GET", href.replace(ticket, other))
        assert answer.problem == (403, "ticket_invalid", [])
    await asyncio.sleep(1.1)
    over = await running.nobody("GET", href)
    assert over.problem == (403, "ticket_invalid", [])
    assert "no longer" in over.json["detail"]


@pytest.mark.parametrize("seconds", [0, 86_401, "x"])
async def test_a_link_lives_a_day_at_most(running: Running, place: str, seconds: Any) -> None:
    answer = await running.api("POST", f"{place}/copc/url", json={"seconds": seconds})
    assert answer.problem == (422, "invalid_request", ["seconds"])

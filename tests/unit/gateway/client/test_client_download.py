import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.unit.gateway.client.standin import COPC, Run, Server, cut

DOWNLOAD = "GET /v1/clouds/*/products/copc"
CLOUD = "00000000-0000-0000-0000-00000000000c"


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture(autouse=True)
def _cloud(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"name": "town.laz", "bytes": 1, "crc32c": "00000000"}
    server.clouds[CLOUD] = {"id": CLOUD, "name": "t", "source": source, "job": "j"}
    monkeypatch.chdir(tmp_path)


async def test_a_product_is_saved_under_a_name_of_its_own(run: Run, tmp_path: Path) -> None:
    ran = await run("get", CLOUD, "copc")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "✓ town.copc.laz  5.1 MB, checksum verified\n"
    assert (tmp_path / "town.copc.laz").read_bytes() == COPC
    assert names(tmp_path) == ["town.copc.laz"]


async def test_a_cut_download_goes_on_where_it_was_cut(
    run: Run, server: Server, tmp_path: Path
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(COPC))})
        await response.prepare(request)
        await response.write(COPC[:2_000_000])
        await cut(request)
        return response

    server.scripts[DOWNLOAD] = [half]
    ran = await run("get", CLOUD, "copc", "-o", tmp_path / "a.laz", "--json")
    assert ran.status == 0, ran.err
    assert (tmp_path / "a.laz").read_bytes() == COPC
    assert ran.document()["file"] == str(tmp_path / "a.laz")
    assert ran.document()["product"]["name"] == "copc"
    first, second = server.requests("GET", f"/v1/clouds/{CLOUD}/products/copc")
    assert "Range" not in first.headers
    assert second.headers["Range"].startswith("bytes=")


async def test_a_server_without_ranges_is_read_from_the_start(
    run: Run, server: Server, tmp_path: Path
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(COPC))})
        await response.prepare(request)
        await response.write(COPC[:2_000_000])
        await cut(request)
        return response

    async def whole(_: web.Request) -> web.Response:
        return web.Response(body=COPC)

    server.scripts[DOWNLOAD] = [half, whole]
    assert (await run("get", CLOUD, "copc", "-o", tmp_path / "a.laz")).status == 0
    assert (tmp_path / "a.laz").read_bytes() == COPC


async def test_wrong_bytes_are_not_kept_and_spoil_nothing(
    run: Run, server: Server, tmp_path: Path
) -> None:
    async def lie(_: web.Request) -> web.Response:
        return web.Response(body=COPC[:-1] + b"\0")

    target = tmp_path / "a.laz"
    target.write_bytes(b"before")
    server.scripts[DOWNLOAD] = [lie]
    ran = await run("get", CLOUD, "copc", "-o", target)
    assert ran.status == 1
    assert "checksum_mismatch" in ran.err
    assert target.read_bytes() == b"before"
    assert names(tmp_path) == ["a.laz"]


async def test_a_name_of_our_own_making_never_replaces_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "town.copc.laz").write_bytes(b"the source itself")
    ran = await run("get", CLOUD, "copc")
    assert ran.status == 1
    assert "file_exists" in ran.err
    assert (tmp_path / "town.copc.laz").read_bytes() == b"the source itself"


async def test_a_folder_gets_a_file_of_the_usual_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert (await run("get", CLOUD, "info", "-o", tmp_path / "out")).status == 0
    assert (tmp_path / "out" / "town.info.json").read_bytes() == b'{"points": 1065}'


async def test_a_place_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    ran = await run("get", CLOUD, "copc", "-o", tmp_path / "no" / "a.laz")
    assert ran.status == 1
    assert "file_unwritable" in ran.err
    assert "No such file" in ran.err


async def test_an_unknown_product_is_answered_with_those_there_are(run: Run) -> None:
    ran = await run("get", CLOUD, "copd")
    assert ran.status == 1
    assert "product_not_found" in ran.err
    assert "It has: copc, info." in ran.err


async def test_a_terminal_gets_text_but_no_binary(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = await run("get", CLOUD, "info", "-o", "-")
    assert (ran.status, ran.out) == (0, '{"points": 1065}')
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ran = await run("get", CLOUD, "copc", "-o", "-")
    assert (ran.status, ran.out) == (1, "")
    assert "binary_to_terminal" in ran.err


async def test_two_things_do_not_go_to_one_output(run: Run) -> None:
    assert (await run("get", CLOUD, "copc", "-o", "-", "--json")).status == 2

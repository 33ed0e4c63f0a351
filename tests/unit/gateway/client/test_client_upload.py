import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from services.gateway.client import upload
from services.gateway.client.api import Pointmill
from services.gateway.client.failures import Failure, Refused, Unreachable
from services.gateway.client.upload import send_file
from tests.unit.gateway.client.standin import Server, cut, invite, problem

PUT = "PUT /v1/clouds/*/file"
TOWN = bytes(range(256)) * 20_000


@pytest.fixture
def town(tmp_path: Path) -> Path:
    path = tmp_path / "town.laz"
    path.write_bytes(TOWN)
    return path


async def test_a_file_arrives_whole_with_its_length_announced(
    api: Pointmill, server: Server, town: Path
) -> None:
    seen: list[int] = []
    sent = await send_file(api, town, project="p", moved=seen.append)
    assert server.files[sent.cloud["id"]] == TOWN
    assert (sent.cloud["name"], sent.cloud["project"]) == ("town.laz", "p")
    assert sent.job["cloud"] == sent.cloud["id"]
    (put,) = server.requests("PUT", f"/v1/clouds/{sent.cloud['id']}/file")
    assert put.headers["Content-Length"] == str(len(TOWN))
    assert "Transfer-Encoding" not in put.headers
    assert seen[0] == 0
    assert seen[-1] == len(TOWN)
    assert seen == sorted(seen)


async def test_a_cut_upload_is_sent_again(api: Pointmill, server: Server, town: Path) -> None:
    async def cut_in_the_middle(request: web.Request) -> None:
        await invite(request)
        await request.content.readexactly(100_000)
        await cut(request)

    server.scripts[PUT] = [cut_in_the_middle, cut_in_the_middle]
    told: list[Failure] = []
    sent = await send_file(api, town, retrying=told.append)
    assert server.files == {sent.cloud["id"]: TOWN}
    assert [failure.code for failure in told] == ["unreachable", "unreachable"]


async def test_a_file_whose_answer_was_lost_is_not_stored_twice(
    api: Pointmill, server: Server, town: Path
) -> None:
    async def store_and_say_nothing(request: web.Request) -> None:
        await invite(request)
        cloud = server.clouds[request.match_info["id"]]
        server.files[cloud["id"]] = await request.read()
        job = {"id": "00000000-0000-0000-0000-000000000001", "state": "queued"}
        server.jobs[job["id"]] = job
        cloud.update(state="stored", job=job["id"])
        await cut(request)

    server.scripts[PUT] = [store_and_say_nothing]
    sent = await send_file(api, town)
    assert len(server.clouds) == 1
    assert sent.cloud["state"] == "stored"
    assert sent.job["id"] == sent.cloud["job"]


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_server_that_is_away_for_a_moment_is_tried_again(
    api: Pointmill, server: Server, town: Path, status: int
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>")

    server.scripts[PUT] = [refuse]
    sent = await send_file(api, town)
    assert server.files[sent.cloud["id"]] == TOWN


async def test_a_server_that_stays_away_is_given_up(
    api: Pointmill, server: Server, town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "ATTEMPTS", 3)

    async def refuse(_: web.Request) -> web.Response:
        return problem(503, "storage_unavailable", "The object store is not available.")

    server.scripts[PUT] = [refuse] * 3
    with pytest.raises(Refused) as caught:
        await send_file(api, town)
    assert caught.value.code == "storage_unavailable"
    assert server.scripts[PUT] == []


async def test_a_refused_file_costs_not_a_byte_and_leaves_nothing(
    api: Pointmill, server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "town.txt"
    path.write_bytes(b"x" * 3_000_000)
    seen: list[int] = []
    with pytest.raises(Refused) as caught:
        await send_file(api, path, moved=seen.append)
    assert caught.value.code == "unsupported_extension"
    assert server.clouds == {}
    assert seen == [0]


async def test_a_server_that_takes_nothing_is_given_up(
    api: Pointmill, server: Server, town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "STALL_SECONDS", 0.1)
    monkeypatch.setattr(upload, "ATTEMPTS", 1)

    async def sleep(_: web.Request) -> None:
        await asyncio.sleep(3)

    server.scripts[PUT] = [sleep]
    with pytest.raises(Unreachable, match="took nothing"):
        await send_file(api, town)
    assert server.clouds == {}


async def test_an_interrupted_upload_takes_its_cloud_back(
    api: Pointmill, server: Server, town: Path
) -> None:
    arrived = asyncio.Event()

    async def sleep(_: web.Request) -> None:
        arrived.set()
        await asyncio.sleep(3)

    server.scripts[PUT] = [sleep]
    sending = asyncio.create_task(send_file(api, town))
    async with asyncio.timeout(5):
        await arrived.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert server.clouds == {}


async def test_a_file_that_shrinks_is_named_as_the_cause(
    api: Pointmill, server: Server, town: Path
) -> None:
    async def shorten(_: web.Request) -> None:
        await asyncio.to_thread(town.write_bytes, b"short")

    server.scripts[PUT] = [shorten]
    with pytest.raises(Failure, match="became shorter") as caught:
        await send_file(api, town)
    assert caught.value.code == "file_unreadable"
    assert server.clouds == {}


@pytest.mark.parametrize("name", ["missing.laz", "folder"])
async def test_what_cannot_be_read_is_refused_before_anything_is_asked(
    api: Pointmill, server: Server, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Failure) as caught:
        await send_file(api, tmp_path / name)
    assert caught.value.code == "file_unreadable"
    assert server.asked == []

from pathlib import Path

import pytest
from aiohttp import web

from tests.unit.gateway.client.standin import Run, Server, problem

KEYS = {"file", "cloud", "job", "products", "error"}


@pytest.fixture
def town(tmp_path: Path) -> Path:
    path = tmp_path / "town.laz"
    path.write_bytes(b"LASF" * 1000)
    return path


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_bytes(b"hello")
    return path


async def test_one_file_gives_one_object(run: Run, town: Path) -> None:
    ran = await run("upload", town, "--json")
    assert (ran.status, ran.err) == (0, "")
    document = ran.document()
    assert document.keys() == KEYS
    assert document["file"] == str(town)
    assert document["cloud"]["state"] == "stored"
    assert document["job"]["state"] == "queued"
    assert (document["products"], document["error"]) == ([], None)


async def test_a_file_that_is_waited_for_comes_with_its_products(run: Run, town: Path) -> None:
    ran = await run("upload", town, "--wait", "--json")
    assert (ran.status, ran.err) == (0, "")
    document = ran.document()
    assert document["job"]["state"] == "succeeded"
    assert [product["name"] for product in document["products"]] == ["copc", "info"]
    assert document["error"] is None


async def test_several_files_give_a_list_and_one_bad_one_stops_no_other(
    run: Run, server: Server, town: Path, note: Path, tmp_path: Path
) -> None:
    ran = await run("upload", note, tmp_path / "no.laz", town, "--wait", "--json")
    assert ran.status == 1
    refused, missing, good = ran.document()
    assert all(document.keys() == KEYS for document in (refused, missing, good))
    assert refused["error"]["code"] == "unsupported_extension"
    assert missing["error"]["code"] == "file_unreadable"
    for bad in (refused, missing):
        assert bad["error"].keys() == {"code", "title", "detail", "remedy"}
        assert (bad["cloud"], bad["job"], bad["products"]) == (None, None, [])
    assert good["job"]["state"] == "succeeded"
    assert len(server.clouds) == 1
    assert ran.err.count("pointmill: ") == 2


async def test_a_job_that_fails_makes_the_status_1_only_if_it_is_waited_for(
    run: Run, server: Server, town: Path
) -> None:
    server.fails = {
        "code": "not_las",
        "title": "No LAS file",
        "detail": "The file does not begin with LASF.",
        "remedy": "Send one.",
    }
    assert (await run("upload", town)).status == 0
    ran = await run("upload", town, "--wait", "--json")
    assert ran.status == 1
    document = ran.document()
    assert document["error"] == server.fails
    assert document["job"]["state"] == "failed"
    assert document["cloud"]["state"] == "stored"
    assert "does not begin with LASF (not_las). Send one." in ran.err


async def test_a_project_is_made_once_and_found_by_its_name(
    run: Run, server: Server, town: Path
) -> None:
    for _ in range(2):
        assert (await run("upload", town, "--project", "Harbour")).status == 0
    (project,) = server.projects
    assert {cloud["project"] for cloud in server.clouds.values()} == {project["id"]}


async def test_people_see_what_came_out_and_how_to_get_it(run: Run, town: Path) -> None:
    ran = await run("upload", town, "--wait")
    assert ran.status == 0
    assert "✓ town.laz: succeeded, 1,065 points, in 2.5 s" in ran.out
    assert "5.1 MB" in ran.out
    assert "pointmill get " in ran.out
    assert "town.laz: 4.0 kB sent" in ran.err


async def test_people_see_a_table_of_several_files(run: Run, town: Path, note: Path) -> None:
    ran = await run("upload", town, note, "--wait")
    assert ran.status == 1
    assert "1 of 2 succeeded." in ran.out
    assert "unsupported_extension" in ran.out
    assert "2, 5.1 MB" in ran.out


async def test_a_missing_key_fails_every_file_in_the_same_document(
    run: Run, town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POINTMILL_API_KEY")
    ran = await run("upload", town, "--json")
    assert ran.status == 1
    assert ran.document()["error"]["code"] == "setting_missing"
    assert ran.err.startswith("pointmill: POINTMILL_API_KEY is not set")


async def test_a_server_that_is_gone_is_waited_for_only_once(
    run: Run, server: Server, town: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def be_away(_: web.Request) -> web.Response:
        return problem(503, "storage_unavailable", "The object store is not available.")

    monkeypatch.setattr("services.gateway.client.upload.ATTEMPTS", 2)
    server.scripts["PUT /v1/clouds/*/file"] = [be_away] * 2
    ran = await run("upload", town, town, "--json")
    assert ran.status == 1
    assert [one["error"]["code"] for one in ran.document()] == ["storage_unavailable"] * 2
    assert len([one for one in server.asked if one.method == "PUT"]) == 2
    assert ran.err.count("sending it again") == 1


async def test_a_refused_project_fails_every_file(run: Run, server: Server, town: Path) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return problem(422, "invalid_request", "name: is too long")

    server.scripts["POST /v1/projects"] = [refuse]
    ran = await run("upload", town, town, "--project", "x" * 300, "--json")
    assert ran.status == 1
    assert [one["error"]["code"] for one in ran.document()] == ["invalid_request"] * 2
    assert server.clouds == {}

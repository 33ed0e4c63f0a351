import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.gateway.client.findings import coordinate
from tests.fixtures.corpus import corpus_or_skip
from tests.fixtures.honest import copc, field, las, laz, put, with_fields
from tests.fixtures.hostile import lies
from tests.unit.gateway.client.standin import Run, Server

Save = Callable[[str, bytes], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save_file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return save_file


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server, no key, and no way to any: a check has to do without."""
    monkeypatch.delenv("POINTMILL_URL", raising=False)
    monkeypatch.delenv("POINTMILL_API_KEY", raising=False)

    def refuse(*_: object) -> None:
        raise AssertionError("a check connects to nothing")

    monkeypatch.setattr(socket.socket, "connect", refuse)


async def test_a_good_file_is_told_with_its_facts(run: Run, save: Save, server: Server) -> None:
    ran = await run("check", save("town.laz", laz()))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("✓ town.laz can be milled\n")
    assert "LAZ, LAS 1.4, point format 7, 36 bytes a point" in ran.out
    assert "60,000" in ran.out
    assert "2 chunks of up to 50,000 points" in ran.out
    assert "EPSG:32633 WGS 84 / UTM zone 33N (from WKT)" in ran.out
    assert "no vertical system stated" in ran.out
    assert "x         500000.00" in ran.out
    assert not server.asked


async def test_warnings_are_told_with_what_to_do_and_are_no_failure(run: Run, save: Save) -> None:
    ran = await run("check", save("town.copc.laz", copc()))
    assert ran.status == 0
    assert "! town.copc.laz can be milled, with 2 warnings" in ran.out
    assert "crs=EPSG:25832" in ran.out
    assert "COPC, LAS 1.4" in ran.out


async def test_a_refused_file_is_told_with_code_reason_and_remedy(run: Run, save: Save) -> None:
    ran = await run("check", save("cut.las", las()[:-500]))
    assert (ran.status, ran.err) == (1, "")
    assert "✗ cut.las cannot be milled: points_missing" in ran.out
    assert "The header promises 1000 points, the file holds 985." in ran.out
    assert "copy or export it again" in ran.out


async def test_json_is_one_document_for_one_file_and_a_list_for_several(
    run: Run, save: Save
) -> None:
    good, bad = save("good.las", las()), save("bad.las", b"")
    one = (await run("check", good, "--json")).document()
    assert one.keys() == {
        "file",
        "verdict",
        "error",
        "warnings",
        "facts",
        "bytes_read",
        "seconds",
    }
    assert (one["verdict"], one["error"], one["warnings"]) == ("fine", None, [])
    assert one["facts"]["points"] == 1000
    assert one["facts"]["crs"]["epsg"] == 32633
    assert one["facts"]["bounds"]["min"] < one["facts"]["bounds"]["max"]
    assert one["facts"]["gps_time"] == "week"
    assert one["facts"]["records"][0]["user_id"] == "LASF_Projection"
    assert 227 < one["bytes_read"] < 10_000
    ran = await run("check", good, bad, "--json")
    assert ran.status == 1
    assert [document["verdict"] for document in ran.document()] == ["fine", "refused"]
    assert ran.document()[1]["error"].keys() == {"code", "title", "detail", "remedy"}


async def test_several_files_are_a_table_with_a_summary(run: Run, save: Save) -> None:
    files = [save("a.las", las()), save("b.copc.laz", copc()), save("c.las", b"LASF")]
    ran = await run("check", *files)
    assert ran.status == 1
    assert "LAS 1.2/3" in ran.out
    assert "COPC 1.4/7" in ran.out
    assert "no_crs" in ran.out
    assert "The file has 4 bytes; a LAS header has 227 or more." in ran.out
    assert "2 of 3 can be milled, 1 of them with warnings." in ran.out


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "No such file or directory"),
        (lambda path: path.mkdir(), "it is a folder"),
        (os.mkfifo, "it is a pipe, a socket or a device"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
    ids=["missing", "folder", "pipe", "loop"],
)
async def test_what_is_no_file_is_told_in_a_sentence(
    run: Run, tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    make(tmp_path / "town.laz")
    ran = await run("check", tmp_path / "town.laz", "--json")
    assert (ran.status, ran.err) == (1, "")
    assert ran.document()["error"]["code"] == "file_unreadable"
    assert why in ran.document()["error"]["detail"]
    assert ran.document()["facts"] is None


async def test_a_file_that_may_not_be_read_is_told(
    run: Run, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*_: Any, **__: Any) -> None:
        # Root, as whom tests may run, may read everything.
        raise PermissionError(13, "Permission denied")

    path = save("town.laz", laz())
    monkeypatch.setattr(Path, "open", forbid)
    ran = await run("check", path)
    assert ran.status == 1
    assert "Permission denied" in ran.out


async def test_forty_gigabytes_are_checked_in_a_moment(run: Run, save: Save) -> None:
    points = 40 * 10**9 // 36
    path = save("huge.las", with_fields(las(7), count=points, legacy_count=0))
    os.truncate(path, field(las(7), "point_offset") + points * 36)
    started = time.process_time()
    ran = await run("check", path)
    assert time.process_time() - started < 0.5
    assert ran.status == 0
    assert "40.0 GB" in ran.out
    assert "1,111,111,111" in ran.out


async def test_what_stands_in_a_file_or_its_name_cannot_steer_the_terminal(
    run: Run, save: Save
) -> None:
    evil = put(las(), 58, "32s", b"\x1b[2Jred")
    ran = await run("check", save("a\x1b[2Jb.las", evil))
    assert ran.status == 0
    assert "\x1b" not in ran.out


async def test_no_lie_ends_in_anything_but_a_verdict(run: Run, tmp_path: Path) -> None:
    files = [lie.write(tmp_path) for lie in lies()]
    ran = await run("check", *files)
    assert (ran.status, ran.err) == (1, "")
    refused = sum(lie.fate == "refused" for lie in lies())
    assert f"{len(files) - refused} of {len(files)} can be milled" in ran.out
    documents = json.loads((await run("check", *files, "--json")).out)
    for lie, document in zip(lies(), documents, strict=True):
        assert (document["error"] or {}).get("code") == lie.code


@pytest.mark.corpus
async def test_every_real_file_is_told_in_full(run: Run) -> None:
    for file in corpus_or_skip("valid", "odd")[::10]:
        ran = await run("check", file.path)
        assert (ran.status, ran.err) == (0, ""), file.name
        assert f"{file.points:,}" in ran.out


def test_the_command_takes_from_shared_no_more_than_the_inspection() -> None:
    program = (
        "import sys; import services.gateway.client.__main__; "
        "print(*(name for name in sys.modules if name.split('.')[0] == 'shared'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    taken = {".".join(name.split(".")[:2]) for name in done.stdout.split()}
    assert taken == {"shared", "shared.errors", "shared.preflight"}


@pytest.mark.parametrize(
    ("value", "scale", "shown"),
    [
        (500000.1234, 0.001, "500000.123"),
        (2.5, 0.5, "2.5"),
        (7.0, 1.0, "7"),
        (123456.0, 100.0, "123456"),
        (-0.000000001, 1e-15, "-0.000000001"),
        (1e300, 0.01, "1e+300"),
    ],
)
def test_a_coordinate_has_the_decimals_of_its_scale(value: float, scale: float, shown: str) -> None:
    assert coordinate(value, scale) == shown

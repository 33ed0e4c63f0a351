"""The `pointmill` command as people and scripts use it: a process, its status and its documents."""

import asyncio
import hashlib
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.fixtures import honest
from tests.fixtures.system import System

SECONDS = 90
KEYS = {"file", "cloud", "job", "products", "error"}
POINTS = 2000
NOBODY = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    def document(self) -> Any:
        return json.loads(self.out)


Pointmill = Callable[..., Coroutine[Any, Any, Ran]]


async def pointmill(system: System, *arguments: object, **environment: str) -> Ran:
    program = Path(sys.executable).with_name("pointmill")
    process = await asyncio.create_subprocess_exec(
        program,
        *(str(argument) for argument in arguments),
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **system.environment, **environment},
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "Traceback" not in err.decode()
    return Ran(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
def run(module_system: System) -> Pointmill:
    async def run_command(*arguments: object, **environment: str) -> Ran:
        return await pointmill(module_system, *arguments, **environment)

    return run_command


@pytest.fixture
def town(tmp_path: Path) -> Path:
    path = tmp_path / "town.laz"
    path.write_bytes(honest.laz(7, POINTS))
    return path


async def test_an_upload_that_is_waited_for_gives_cloud_job_and_products(
    run: Pointmill, town: Path, tmp_path: Path
) -> None:
    ran = await run("upload", town, "--project", "Harbour", "--wait", "--json")
    assert (ran.status, ran.err) == (0, "")
    document = ran.document()
    assert document.keys() == KEYS
    assert document["file"] == str(town)
    assert document["error"] is None
    cloud, job = document["cloud"], document["job"]
    assert (cloud["name"], cloud["state"], cloud["job"]) == ("town.laz", "stored", job["id"])
    assert (job["state"], job["result"]["points"]) == ("succeeded", POINTS)
    assert {"copc", "preview", "info", "certificate"} <= {
        one["name"] for one in document["products"]
    }
    projects = (await run("projects", "--json")).document()
    assert [one["id"] for one in projects if one["name"] == "Harbour"] == [cloud["project"]]

    for product in document["products"]:
        target = tmp_path / product["name"]
        ran = await run("get", cloud["id"], product["name"], "-o", target)
        assert ran.status == 0, ran.err
        assert hashlib.sha256(target.read_bytes()).hexdigest() == product["sha256"]
    assert (await run("products", cloud["id"], "--json")).document() == document["products"]
    piped = await run("get", cloud["id"], "info", "-o", "-")
    assert piped.out.encode() == (tmp_path / "info").read_bytes()


async def test_jobs_fan_out_and_in_again(run: Pointmill, town: Path) -> None:
    made = (await run("upload", town, "--wait", "--json")).document()
    mill, sizes = made["job"]["id"], {one["name"]: one["bytes"] for one in made["products"]}

    async def order(*arguments: str) -> Any:
        ran = await run("run", *arguments, "--json")
        assert ran.status == 0, ran.err
        return ran.document()

    pause = (await order("demo.sleep", "seconds=2"))["id"]
    left = await order("demo.gather", "--input", f"a={mill}/info", "--after", pause)
    right = await order("demo.gather", "--input", f"a={mill}/copc", "--after", pause)
    assert (left["state"], left["waiting_for"]) == ("waiting", [pause])
    inputs = [f"{name}={job['id']}/gathered" for name, job in (("l", left), ("r", right))]
    both = await order("demo.gather", "--input", inputs[0], "--input", inputs[1], "--wait")
    assert both["state"] == "succeeded"
    assert both["result"] == {"inputs": ["l", "r"], "bytes": sizes["info"] + sizes["copc"]}
    shown = (await run("job", both["id"])).out
    assert f"{left['id']}/gathered" in shown

    missing = await run("run", "demo.gather", "--input", f"a={left['id']}/copc", "--wait")
    assert missing.status == 1
    assert "has no product copc" in missing.err
    unknown = await run("run", "demo.print", "--after", NOBODY)
    assert (unknown.status, "after.0" in unknown.err) == (1, True)


async def test_several_files_give_a_list_and_the_bad_ones_their_codes(
    run: Pointmill, module_system: System, town: Path, tmp_path: Path
) -> None:
    before = len((await run("clouds", "--limit", 100, "--json")).document())
    contents = {"note.txt": b"hello", "empty.laz": b"", "noise.laz": b"no point cloud" * 100}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = [tmp_path / "note.txt", tmp_path / "empty.laz", tmp_path / "noise.laz", town]
    ran = await run("upload", *files, tmp_path / "missing.laz", "--wait", "--json")
    assert ran.status == 1
    note, empty, noise, good, missing = ran.document()
    codes = [one["error"]["code"] for one in (note, empty, missing)]
    assert codes == ["unsupported_extension", "empty_file", "file_unreadable"]
    for refused in (note, empty, missing):
        assert (refused["cloud"], refused["job"], refused["products"]) == (None, None, [])
        assert refused["error"]["remedy"]
    assert noise["job"]["state"] == "failed"
    assert noise["error"] == noise["job"]["error"]
    assert noise["error"]["code"] not in {"", "internal_error"}
    assert noise["products"] == []
    assert good["job"]["state"] == "succeeded"
    after = len((await run("clouds", "--limit", 100, "--json")).document())
    assert after - before == 2
    assert module_system.api_key not in ran.out + ran.err


async def test_a_damaged_file_is_salvaged_when_its_refusal_is_answered(
    run: Pointmill, tmp_path: Path
) -> None:
    whole = honest.chunked(7, 1200, 500)
    damaged, certificate = tmp_path / "damaged.laz", tmp_path / "certificate.json"
    damaged.write_bytes(whole[: len(whole) * 2 // 3])
    refused = (await run("upload", damaged, "--wait", "--json")).document()
    assert refused["error"]["code"] == "laz_truncated"
    assert "salvage=true" in refused["error"]["remedy"]
    cloud = refused["cloud"]["id"]
    ran = await run(
        "run", "pointcloud.ingest", "salvage=true", "--cloud", cloud, "--wait", "--json"
    )
    assert ran.status == 0, ran.err
    result = ran.document()["result"]
    assert result["points"] == 500
    assert "points_lost" in {warning["code"] for warning in result["warnings"]}
    assert (await run("get", cloud, "certificate", "-o", certificate)).status == 0
    assert json.loads(certificate.read_text())["salvage"]["points_lost"] == 700


async def test_an_upload_that_is_not_waited_for_is_accepted(run: Pointmill, town: Path) -> None:
    ran = await run("upload", town, "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.document()["job"]["state"] == "queued"
    ran = await run("job", ran.document()["job"]["id"], "--wait", "--json")
    assert (ran.status, ran.document()["state"]) == (0, "succeeded")


async def test_people_read_what_came_out(run: Pointmill, town: Path) -> None:
    ran = await run("upload", town, "--wait")
    assert ran.status == 0
    assert "✓ town.laz: succeeded, 2,000 points" in ran.out
    assert "Get one: pointmill get " in ran.out
    listed = await run("jobs", "--kind", "pointcloud.ingest", "--state", "succeeded")
    assert "2,000 points" in listed.out
    shown = await run("kinds")
    assert "pointcloud.ingest" in shown.out


async def test_a_job_of_any_kind_is_run_to_its_end(run: Pointmill) -> None:
    ran = await run("run", "demo.print", "first=hello", "second=world", "--wait", "--json")
    assert (ran.status, ran.err) == (0, "")
    job = ran.document()
    assert UUID(job["id"])
    assert job["params"] == {"first": "hello", "second": "world"}
    assert job["state"] == "succeeded"


async def test_an_order_that_does_not_fit_names_the_parameter(run: Pointmill) -> None:
    ran = await run("run", "demo.print", "third=1")
    assert (ran.status, ran.out) == (1, "")
    assert "params.third" in ran.err
    assert "(invalid_request)" in ran.err
    ran = await run("run", "no.such.kind")
    assert ran.status == 1
    assert "(unknown_kind)" in ran.err


async def test_a_running_job_is_cancelled_and_tried_again(
    run: Pointmill, module_system: System
) -> None:
    ran = await run("run", "demo.sleep", "seconds=30", "--json")
    job = ran.document()["id"]
    waiting = asyncio.create_task(run("job", job, "--wait", "--json"))
    await module_system.wait_job(job, lambda seen: bool(seen["state"] == "running"))
    assert (await run("cancel", job, "--json")).status == 0
    ended = await waiting
    assert (ended.status, ended.document()["state"]) == (1, "cancelled")
    again = await run("retry", job, "--json")
    assert again.status == 0
    assert again.document()["retry_of"] == job
    assert (await run("cancel", again.document()["id"])).status == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("job", NOBODY), "job_not_found"),
        (("cancel", NOBODY), "job_not_found"),
        (("retry", NOBODY), "job_not_found"),
        (("get", NOBODY, "copc"), "cloud_not_found"),
        (("products", NOBODY), "cloud_not_found"),
    ],
)
async def test_what_is_not_there_is_told_with_status_1(
    run: Pointmill, arguments: tuple[str, ...], code: str
) -> None:
    ran = await run(*arguments)
    assert (ran.status, ran.out) == (1, "")
    assert f"({code})" in ran.err
    assert ran.err.count("\n") == 1


async def test_missing_and_wrong_settings_are_told_in_one_line(run: Pointmill) -> None:
    for name in ("POINTMILL_URL", "POINTMILL_API_KEY"):
        ran = await run("jobs", **{name: ""})
        assert (ran.status, ran.out) == (1, "")
        assert ran.err.startswith(f"pointmill: {name} is not set (setting_missing).")
    ran = await run("jobs", POINTMILL_API_KEY="pm_wrong_wrong")
    assert (ran.status, ran.out) == (1, "")
    assert "(unauthorized)" in ran.err
    assert (await run("jobs", "--state", "tired")).status == 2


async def test_a_gateway_that_dies_in_the_upload_gets_the_file_again(
    run: Pointmill, module_system: System, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.laz"
    cut.write_bytes(honest.laz(7, POINTS))
    await module_system.stop("gateway")
    await module_system.start("gateway", failpoints="gateway.upload.receiving=kill")
    command = asyncio.create_task(run("upload", cut, "--wait", "--json"))
    await module_system.wait_ended("gateway")
    # Stored this time, but the answer is lost: the third try must find the file, not double it.
    await module_system.start("gateway", failpoints="gateway.upload.committed=kill", wait=False)
    await module_system.wait_ended("gateway")
    await module_system.start("gateway")
    ran = await command
    assert ran.status == 0, ran.err
    assert ran.document()["job"]["state"] == "succeeded"
    assert "sending it again" in ran.err
    clouds = (await run("clouds", "--limit", 100, "--json")).document()
    mine = [cloud["id"] for cloud in clouds if cloud["name"] == "cut.laz"]
    assert mine == [ran.document()["cloud"]["id"]]
    jobs = (await run("jobs", "--cloud", mine[0], "--json")).document()
    assert [job["id"] for job in jobs] == [ran.document()["job"]["id"]]


async def test_a_gateway_that_dies_while_a_job_is_watched_is_waited_for(
    run: Pointmill, module_system: System
) -> None:
    watching = asyncio.create_task(run("run", "demo.sleep", "seconds=3", "--wait", "--json"))
    async with asyncio.timeout(SECONDS):
        # Once it runs, the command has its answer and watches.
        while "running" not in (await run("jobs", "--kind", "demo.sleep", "--limit", 1)).out:
            pass
    await module_system.kill("gateway")
    await asyncio.sleep(1)
    await module_system.start("gateway")
    ended = await watching
    assert ended.status == 0, ended.err
    assert ended.document()["state"] == "succeeded"

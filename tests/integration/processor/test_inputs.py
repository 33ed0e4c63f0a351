"""Jobs that take products of others, by a real processor."""

import json
from pathlib import Path
from uuid import UUID

from services.processor.landlock import version
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.processors import Bench, eventually


async def gather(
    bench: Bench, text: str = "", after: tuple[UUID, ...] = (), **inputs: tuple[UUID, str]
) -> UUID:
    """Order a demo.gather that takes the named products, and waits for `after` as well."""
    named = {name: {"job": str(job), "product": product} for name, (job, product) in inputs.items()}
    if not after and not named:
        return await bench.order("demo.gather", {"text": text})
    async with bench.database.connected("gateway") as connection:
        return await connection.fetchval(
            "select (create_child_job($1, 'demo.gather', $2, null, 0::smallint, 'test', null, $3, $4)).id",
            DEFAULT_WORKSPACE,
            json.dumps({"text": text}),
            list(after),
            json.dumps(named),
        )


def gathered(bench: Bench, job: UUID) -> Path:
    """What the job has made, in the store."""
    (path,) = (bench.folder / "objects").rglob(f"jobs/{job}/1/gathered.txt/*")
    return path


async def test_products_fan_out_and_in_again_through_the_sandbox(bench: Bench) -> None:
    root = await gather(bench, "r")
    left = await gather(bench, "1", root=(root, "gathered"))
    right = await gather(bench, "2", root=(root, "gathered"))
    both = await gather(bench, "=", b=(right, "gathered"), a=(left, "gathered"))
    required = "landlock" if version() else "rlimits"
    async with bench.processor(sandbox_required=required, slots=2):
        row = await bench.until(both, "succeeded", "failed", seconds=60)
    assert row["state"] == "succeeded", row["error"]
    assert json.loads(row["result"])["inputs"] == ["a", "b"]
    assert gathered(bench, both).read_text() == "=1r2r"


async def test_an_input_that_its_job_has_not_made_fails_clearly_and_at_once(bench: Bench) -> None:
    root = await gather(bench, "r")
    child = await gather(bench, "1", cloud=(root, "copc"))
    below = await gather(bench, after=(child,))
    async with bench.processor():
        row = await bench.until(child, "failed", seconds=60)
        last = await bench.until(below, "failed")
    error = json.loads(row["error"])
    assert (error["code"], row["attempt"]) == ("input_missing", 1)
    assert f"Job {root} has no product copc" in error["detail"]
    assert "input cloud" in error["detail"]
    assert json.loads(last["error"])["code"] == "parent_failed"
    assert "input_missing" in json.loads(last["error"])["detail"]


async def test_an_input_that_is_not_what_its_job_made_is_not_used(bench: Bench) -> None:
    root = await gather(bench, "r")
    async with bench.processor():
        await bench.until(root, "succeeded", seconds=60)
        await bench.rows("update products set crc32c = '00000000' returning id")
        child = await gather(bench, "1", root=(root, "gathered"))

        async def failed_once() -> object:
            return (await bench.job(child))["error"]

        error = json.loads(str(await eventually(failed_once)))
    assert error["code"] == "checksum_mismatch"


async def test_an_input_that_is_gone_from_the_store_fails_the_job(bench: Bench) -> None:
    root = await gather(bench, "r")
    async with bench.processor():
        await bench.until(root, "succeeded", seconds=60)
        gathered(bench, root).unlink()
        child = await gather(bench, "1", root=(root, "gathered"))
        row = await bench.until(child, "failed")
    error = json.loads(row["error"])
    assert error["code"] == "input_missing"
    assert "no longer in the store" in error["detail"]


async def test_a_processor_settles_what_nothing_keeps_waiting(bench: Bench) -> None:
    parent = await bench.order("demo.print")
    child = await gather(bench, "1", after=(parent,))
    async with bench.database.connected() as connection:
        await connection.execute("alter table jobs disable trigger user")
        await connection.execute(
            "update jobs set state = 'succeeded', result = '{}', ended_at = now() where id = $1",
            parent,
        )
        await connection.execute("alter table jobs enable trigger user")
    async with bench.processor():
        await bench.until(child, "succeeded", seconds=60)

"""The collector deletes what no row names, once it is old enough, and nothing else."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from services.processor.reaper import collect_once
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.processors import Bench

DAYS_AGO = 3 * 86_400


async def one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def age(folder: Path) -> None:
    """Make everything in the store three days older."""
    then = time.time() - DAYS_AGO
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then))


async def test_only_old_objects_that_no_row_names_are_deleted(bench: Bench) -> None:
    named, product = (
        f"{DEFAULT_WORKSPACE}/clouds/c/named.laz",
        f"{DEFAULT_WORKSPACE}/jobs/j/1/copc.laz",
    )
    orphan, young = (
        f"{DEFAULT_WORKSPACE}/jobs/j/2/copc.laz",
        f"{DEFAULT_WORKSPACE}/clouds/c/young.laz",
    )
    await bench.rows(
        "insert into clouds (workspace_id, name, state, source_name, source_object, source_bytes, source_crc32c) "
        "values ($1, 'c', 'stored', 'c.laz', $2, 4, '00000000') returning 1",
        DEFAULT_WORKSPACE,
        named,
    )
    job = await bench.order("other.kind")
    await bench.rows(
        "insert into products (workspace_id, job_id, attempt, name, object, media_type, bytes, crc32c, sha256) "
        "values ($1, $2, 1, 'copc', $3, 'x/y', 4, '00000000', repeat('0', 64)) returning 1",
        DEFAULT_WORKSPACE,
        job,
        product,
    )
    async with bench.processor() as processor:
        for key in (named, product, orphan):
            await processor.objects.create(key, one(b"data"))
        age(bench.folder / "objects")
        await processor.objects.create(young, one(b"data"))
        assert await collect_once(processor) == 1
        left = {info.key async for info in processor.objects.list("")}
    assert left == {named, product, young}

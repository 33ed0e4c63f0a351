"""A large object takes no more memory than a small one."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.fixtures.objects import BUCKET
from tests.fixtures.strict_gcs import StrictGcs

MEBIBYTE = 1 << 20
LARGE = 256
ALLOWED = 32 * MEBIBYTE
ROOT = Path(__file__).parents[3]


async def rise(url: str, folder: Path, **environment: str) -> int:
    """By how much the peak of a process of its own rises, in bytes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.objects.rss_probe"),
        *(url, str(LARGE), str(folder / "copy")),
        cwd=ROOT,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(100):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return int(output)


@pytest.mark.slow
async def test_a_large_object_in_a_folder_takes_little_memory(tmp_path: Path) -> None:
    assert await rise((tmp_path / "store").as_uri(), tmp_path) < ALLOWED


@pytest.mark.slow
async def test_a_large_object_in_a_bucket_takes_little_memory(
    strict: StrictGcs, tmp_path: Path
) -> None:
    url = f"gs://{BUCKET}/large"
    assert await rise(url, tmp_path, STORAGE_EMULATOR_HOST=strict.url) < ALLOWED

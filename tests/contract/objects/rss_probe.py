"""Stores, reads and downloads a large object; prints by how many bytes the memory peak rose."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from shared.objects import ObjectStore, open_store

MEBIBYTE = 1 << 20


def memory(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def begin_a_new_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def mebibytes(count: int) -> AsyncIterator[bytes]:
    # Pieces of the size in which aiohttp hands out a request's body.
    for number in range(count * 16):
        yield number.to_bytes(4, "big") * (MEBIBYTE // 64)


async def passage(store: ObjectStore, key: str, count: int, copy: Path) -> None:
    info = await store.create(key, mebibytes(count))
    assert info.size == count * MEBIBYTE
    async for _ in store.read(key):
        pass
    await store.download(key, copy)
    os.unlink(copy)  # noqa: PTH108 - the loop is ours alone


async def main(url: str, count: int, copy: Path) -> None:
    store = await open_store(url)
    await passage(store, "warm-up", 1, copy)
    before = memory("VmRSS")
    begin_a_new_peak()
    await passage(store, "large", count, copy)
    await store.close()
    print(memory("VmHWM") - before)  # noqa: T201 - this is what the test reads


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))

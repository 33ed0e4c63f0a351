"""A disk that fills, fails, stalls or lies: all or nothing, and a clear sentence."""

import asyncio
import errno
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ChecksumMismatch, ObjectExists, StorageUnavailable
from shared.objects import part
from shared.objects.file import FileStore
from tests.fixtures.objects import crc32c_of, gathered, pieces, some_bytes

DATA = some_bytes(3_000_000)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def store(root: Path) -> FileStore:
    return await FileStore.open(root)


def left_in(root: Path) -> list[str]:
    """Every file below the folder, objects and unfinished alike."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 1 MiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_the_object_is_a_plain_file_named_by_its_checksum(
    store: FileStore, root: Path
) -> None:
    await store.create("clouds/1/source.laz", pieces(DATA))
    path = root / "objects/clouds/1/source.laz" / crc32c_of(DATA)
    assert path.read_bytes() == DATA
    assert left_in(root) == [str(path.relative_to(root))]


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_leaves_nothing_and_says_what_to_do(store: FileStore, root: Path) -> None:
    with pytest.raises(StorageUnavailable, match="no room left") as caught:
        await store.create("x", pieces(DATA))
    assert "Free some space" in caught.value.remedy
    assert left_in(root) == []
    assert (await store.create("x", pieces(DATA[:1000]))).size == 1000


async def test_a_full_disk_leaves_no_half_download(
    store: FileStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await store.create("x", pieces(DATA))
    request.getfixturevalue("full_disk")
    with pytest.raises(StorageUnavailable, match="no room left"):
        await store.download("x", tmp_path / "copy")
    assert os.listdir(tmp_path) == ["store"]  # noqa: PTH208 - also sees dot files


@pytest.mark.parametrize("which", [1, 2, 3, 4])
async def test_a_disk_that_cannot_make_it_durable_leaves_nothing(
    store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    calls = []
    real = os.fsync

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == which:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        await store.create("a/x", pieces(DATA))
    assert left_in(root) == []
    monkeypatch.undo()
    assert (await store.create("a/x", pieces(DATA))).size == len(DATA)


async def test_a_slow_disk_never_holds_up_the_loop(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fsync", "write", "pread"):
        monkeypatch.setattr(os, name, slowed(getattr(os, name), 0.2))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticker = asyncio.create_task(tick())
    await store.create("x", pieces(DATA[:1000]))
    await gathered(store.read("x"))
    ticker.cancel()
    # More than 0.8 s on the disk: a loop that waited itself would have ticked a few times.
    assert ticks > 20


def slowed(function: Any, seconds: float) -> Any:
    def slow(*args: Any) -> Any:
        time.sleep(seconds)
        return function(*args)

    return slow


async def test_a_disk_that_stalls_is_given_up_and_leaves_nothing_when_it_wakes(
    store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part, "DISK_SECONDS", 0.1)
    monkeypatch.setattr(os, "write", slowed(os.write, 0.5))
    with pytest.raises(StorageUnavailable, match="did not answer"):
        await store.create("x", pieces(DATA))
    await asyncio.sleep(1)
    assert left_in(root) == []


def test_a_write_that_comes_after_the_end_makes_no_file(tmp_path: Path) -> None:
    late = part.Part(tmp_path / "late.part")
    late.discard()
    late.write(b"x")
    late.publish(lambda _: pytest.fail("nothing is left to publish"))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("harm", ["flip", "cut", "grow"])
async def test_bytes_that_change_on_the_disk_are_never_passed_on_as_whole(
    store: FileStore, root: Path, tmp_path: Path, harm: str
) -> None:
    await store.create("x", pieces(DATA))
    path = root / "objects/x" / crc32c_of(DATA)
    harmed = {"flip": b"x" + DATA[1:], "cut": DATA[:-1], "grow": DATA + b"x"}[harm]
    path.write_bytes(harmed)
    received = 0
    with pytest.raises(ChecksumMismatch):  # noqa: PT012 - what came before it counts
        async for chunk in store.read("x"):
            received += len(chunk)
    assert received < len(DATA)
    with pytest.raises(ChecksumMismatch):
        await store.download("x", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_a_store_whose_folder_is_gone_is_unavailable(store: FileStore, root: Path) -> None:
    await store.check()
    shutil.rmtree(root)
    for attempt in (store.check(), store.create("x", pieces(b"x"))):
        with pytest.raises(StorageUnavailable):
            await attempt


async def test_a_key_cannot_be_an_object_and_a_folder_of_objects(store: FileStore) -> None:
    await store.create("a/b", pieces(b"1"))
    with pytest.raises(ObjectExists, match="folder"):
        await store.create("a", pieces(b"2"))
    assert await gathered(store.read("a/b")) == b"1"


async def test_a_listing_shows_nothing_unfinished(store: FileStore, root: Path) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield DATA
        assert [info.key async for info in store.list("")] == []
        assert len(left_in(root)) == 1
        assert await store.collect_unfinished(3600) == 0

    await store.create("x", slow())
    assert [info.key async for info in store.list("")] == ["x"]


KILLED = """
import asyncio, sys
from pathlib import Path
from shared.objects import open_store

async def chunks():
    yield bytes(2_000_000)
    print("ready", flush=True)
    await asyncio.sleep(60)

async def main():
    store = await open_store(Path(sys.argv[1]).as_uri())
    await store.create("x", chunks())

asyncio.run(main())
"""


async def test_a_killed_process_leaves_only_what_collection_finds(
    store: FileStore, root: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, str(root)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"ready\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    assert await store.stat("x") is None
    assert [info.key async for info in store.list("")] == []
    assert await store.collect_unfinished(3600) == 0
    assert await store.collect_unfinished(0) == 1
    assert left_in(root) == []


async def test_collection_finds_an_object_that_never_got_its_key(
    store: FileStore, root: Path
) -> None:
    ready = root / "unfinished/0123.ready"
    ready.mkdir()
    (ready / "00000000").write_bytes(b"")
    assert await store.collect_unfinished(-1) == 1
    assert left_in(root) == []
    assert not ready.exists()

"""What every object store promises, asked of each of them the same way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import ChecksumMismatch, ObjectExists, ObjectMissing, ObjectTooLarge
from shared.objects import ObjectStore
from tests.fixtures.objects import Place, crc32c_of, gathered, keys, pieces, some_bytes

MEBIBYTE = 1 << 20
QUANTUM = 256 * 1024
CHUNK = 8 * MEBIBYTE


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize(
    "size",
    [0, 1, QUANTUM - 1, QUANTUM, QUANTUM + 1, MEBIBYTE, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK],
)
async def test_what_was_stored_comes_back(store: ObjectStore, size: int) -> None:
    data = some_bytes(size)
    info = await store.create("clouds/1/source.laz", pieces(data))
    assert (info.key, info.size, info.crc32c) == ("clouds/1/source.laz", size, crc32c_of(data))
    assert abs(datetime.now(UTC) - info.updated_at) < timedelta(minutes=5)
    assert await store.stat("clouds/1/source.laz") == info
    assert await gathered(store.read("clouds/1/source.laz")) == data


@pytest.mark.parametrize("piece", [1, 999, 700_001, 3 * CHUNK])
async def test_the_size_of_the_pieces_does_not_matter(store: ObjectStore, piece: int) -> None:
    data = some_bytes(2000 if piece == 1 else 2 * CHUNK + 77)
    info = await store.create("x", pieces(data, piece))
    assert (info.size, info.crc32c) == (len(data), crc32c_of(data))
    assert await gathered(store.read("x")) == data


async def test_an_empty_piece_between_others_is_nothing(store: ObjectStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b"", b"ab", b"", b"c", b""):
            yield piece

    await store.create("x", chunks())
    assert await gathered(store.read("x")) == b"abc"


async def test_a_second_object_of_the_same_key_is_refused_and_the_first_stays(
    store: ObjectStore,
) -> None:
    first = await store.create("a/b", pieces(b"first"))
    with pytest.raises(ObjectExists):
        await store.create("a/b", pieces(b"second, longer"))
    assert await store.stat("a/b") == first
    assert await gathered(store.read("a/b")) == b"first"


async def test_of_two_at_the_same_time_one_wins(
    store: ObjectStore, place: Place, request: pytest.FixtureRequest
) -> None:
    place.needs("generation_match", request)
    barrier = asyncio.Barrier(2)

    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        yield data
        async with asyncio.timeout(10):
            await barrier.wait()

    results = await asyncio.gather(
        store.create("race", chunks(b"one")),
        store.create("race", chunks(b"two")),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, ObjectExists)]
    assert len(refused) == 1, results
    winner = b"two" if results[0] in refused else b"one"
    assert await gathered(store.read("race")) == winner


async def test_a_file_over_the_limit_leaves_nothing(store: ObjectStore) -> None:
    with pytest.raises(ObjectTooLarge, match="1000"):
        await store.create("big", pieces(some_bytes(1001), 100), limit=1000)
    assert await store.stat("big") is None
    assert (await store.create("big", pieces(some_bytes(1000), 100), limit=1000)).size == 1000


async def test_the_limit_stops_an_endless_stream(store: ObjectStore) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MEBIBYTE)

    with pytest.raises(ObjectTooLarge):
        await store.create("endless", endless(), limit=20 * MEBIBYTE)
    assert await keys(store) == []


async def test_bytes_that_are_not_what_was_promised_leave_nothing(store: ObjectStore) -> None:
    data = some_bytes(300_000)
    with pytest.raises(ChecksumMismatch):
        await store.create("x", pieces(data), crc32c="00000000")
    assert await store.stat("x") is None
    assert (await store.create("x", pieces(data), crc32c=crc32c_of(data))).size == len(data)


@pytest.mark.parametrize("before", [0, 1000, CHUNK + 1000])
async def test_an_exception_from_the_stream_comes_through_and_leaves_nothing(
    store: ObjectStore, before: int
) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield bytes(before)
        msg = "the client went away"
        raise ConnectionResetError(msg)

    with pytest.raises(ConnectionResetError, match="the client went away"):
        await store.create("cut", cut())
    assert await store.stat("cut") is None
    assert await keys(store) == []
    assert (await store.create("cut", pieces(b"again"))).size == 5


@pytest.mark.parametrize("before", [0, 1000, CHUNK + 1000])
async def test_a_cancelled_upload_leaves_nothing(store: ObjectStore, before: int) -> None:
    reached = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield bytes(before)
        reached.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(store.create("stalled", stalls()))
    async with asyncio.timeout(10):
        await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.stat("stalled") is None
    assert await store.collect_unfinished(0) == 0
    assert (await store.create("stalled", pieces(b"again"))).size == 5


async def test_an_upload_cancelled_at_any_moment_leaves_all_or_nothing(store: ObjectStore) -> None:
    data = some_bytes(CHUNK + 100_000)
    for tenth in range(12):
        key = f"moments/{tenth}"
        task = asyncio.create_task(store.create(key, pieces(data)))
        await asyncio.sleep(tenth * 0.008)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert await store.stat(key) is None
        else:
            assert await gathered(store.read(key)) == data
    assert await store.collect_unfinished(0) == 0


async def test_a_file_goes_in_and_comes_out(store: ObjectStore, tmp_path: Path) -> None:
    data = some_bytes(3 * MEBIBYTE + 5)
    source, copy = tmp_path / "in.laz", tmp_path / "out.laz"
    source.write_bytes(data)
    copy.write_bytes(b"what was there before")
    info = await store.create_from_file("f", source, media_type="application/vnd.laszip")
    assert await store.download("f", copy) == info
    assert copy.read_bytes() == data
    assert files_in(tmp_path) == ["in.laz", "out.laz"]


async def test_a_file_that_is_not_there_is_the_callers_mistake(
    store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await store.create_from_file("f", tmp_path / "nowhere")
    assert await store.stat("f") is None


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (0, 100), (99, 100), (10, 20), (10, None), (0, None), (50, 1000), (7, 7)],
)
async def test_a_range_is_what_a_slice_is(store: ObjectStore, start: int, end: int | None) -> None:
    data = some_bytes(100)
    await store.create("r", pieces(data))
    assert await gathered(store.read("r", start=start, end=end)) == data[start:end]


@pytest.mark.parametrize("start", [100, 101, 10**12])
async def test_a_range_beyond_the_end_is_empty(store: ObjectStore, start: int) -> None:
    await store.create("r", pieces(some_bytes(100)))
    assert await gathered(store.read("r", start=start)) == b""
    assert await gathered(store.read("r", start=start, end=start + 10)) == b""


async def test_a_range_of_an_empty_object_is_empty(
    store: ObjectStore, place: Place, request: pytest.FixtureRequest
) -> None:
    place.needs("empty_range", request)
    await store.create("r", pieces(b""))
    assert await gathered(store.read("r", start=0, end=10)) == b""


@pytest.mark.parametrize(("start", "end"), [(-1, None), (5, 4)])
async def test_a_range_that_makes_no_sense_is_refused(
    store: ObjectStore, start: int, end: int | None
) -> None:
    await store.create("r", pieces(some_bytes(100)))
    with pytest.raises(ValueError, match="range"):
        await gathered(store.read("r", start=start, end=end))


async def test_a_large_range_crosses_pieces(store: ObjectStore) -> None:
    data = some_bytes(5 * MEBIBYTE)
    await store.create("r", pieces(data, MEBIBYTE))
    read = await gathered(store.read("r", start=MEBIBYTE - 3, end=4 * MEBIBYTE + 3))
    assert read == data[MEBIBYTE - 3 : 4 * MEBIBYTE + 3]


async def test_a_reader_may_stop_early(store: ObjectStore) -> None:
    await store.create("r", pieces(some_bytes(5 * MEBIBYTE)))
    async with aclosing(store.read("r")) as chunks:
        async for chunk in chunks:
            assert chunk
            break
    await store.delete("r")


async def test_what_is_not_there_is_missing(store: ObjectStore, tmp_path: Path) -> None:
    assert await store.stat("nothing") is None
    for start, end in ((0, None), (3, 5), (4, 4)):
        with pytest.raises(ObjectMissing):
            await gathered(store.read("nothing", start=start, end=end))
    with pytest.raises(ObjectMissing):
        await store.download("nothing", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    await store.delete("nothing")


async def test_a_deleted_object_is_gone_and_its_key_is_free(store: ObjectStore) -> None:
    await store.create("a/b/c", pieces(b"1"))
    await store.delete("a/b/c")
    assert await store.stat("a/b/c") is None
    assert await keys(store) == []
    await store.create("a/b/c", pieces(b"2"))
    assert await gathered(store.read("a/b/c")) == b"2"


async def test_a_listing_holds_what_begins_with_the_prefix(store: ObjectStore) -> None:
    names = ["a/1", "a/10", "a/2/x", "ab/1", "b", "ä/ü"]
    made = {name: await store.create(name, pieces(name.encode())) for name in names}
    assert {info.key: info async for info in store.list("")} == made
    assert await keys(store, "a") == ["a/1", "a/10", "a/2/x", "ab/1"]
    assert await keys(store, "a/") == ["a/1", "a/10", "a/2/x"]
    assert await keys(store, "a/1") == ["a/1", "a/10"]
    assert await keys(store, "ä/") == ["ä/ü"]
    assert await keys(store, "nothing/here") == []


async def test_a_long_listing_is_complete(store: ObjectStore) -> None:
    names = sorted(f"many/{number:04}" for number in range(25))
    for name in names:
        await store.create(name, pieces(b""))
    assert await keys(store, "many/") == names


async def test_a_usable_store_says_so(store: ObjectStore) -> None:
    await store.check()

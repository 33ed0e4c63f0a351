"""Reading points: any range, any chunking, and native errors that speak."""

import struct
from collections.abc import Callable
from pathlib import Path

import laspy
import lazrs
import numpy as np
import pytest

from services.processor.pointcloud.las import decoder
from services.processor.pointcloud.las.decoder import Reading, choose_reading, read_batches
from services.processor.pointcloud.las.source import Source, read_source
from services.processor.pointcloud.plan import ranges_of
from shared.errors import TaskFailed

WriteCloud = Callable[..., Path]
MillFile = Callable[..., object]


def read_all(source: Source, reading: Reading, parts: int, size: int = 700) -> np.ndarray:
    batches = [
        batch.copy()
        for part in ranges_of(source.point_count, reading.starts, parts=parts)
        for batch in read_batches(source, reading.decoder, part.start, part.count, size)
    ]
    return np.concatenate(batches)


@pytest.mark.parametrize("parts", [1, 3, 50])
@pytest.mark.parametrize("ending", ["las", "laz"])
def test_ranges_together_are_the_whole(write_cloud: WriteCloud, ending: str, parts: int) -> None:
    path = write_cloud(f"cloud.{ending}", points=120_000)
    source = read_source(path)
    expected = laspy.read(path).points.array
    read = read_all(source, choose_reading(source), parts, 50_000)
    assert read.tobytes() == expected.tobytes()


def test_ranges_among_chunks_of_different_sizes_are_the_whole(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    """Lazrs itself seeks to a wrong place there, without an error."""
    mill_file(write_cloud(points=300_000))
    source = read_source(tmp_path / "out.copc.laz")
    reading = choose_reading(source)
    assert len(reading.starts) > 3
    expected = laspy.read(source.path).points.array
    assert read_all(source, reading, 4, 30_000).tobytes() == expected.tobytes()


def test_laszip_reads_what_lazrs_reads(write_cloud: WriteCloud) -> None:
    source = read_source(write_cloud("cloud.laz", points=3000))
    by_lazrs = read_all(source, choose_reading(source), 1)
    assert read_all(source, decoder.by_laszip(), 1).tobytes() == by_lazrs.tobytes()


@pytest.mark.parametrize(
    ("place", "value"), [(0, 1), (38, 4)], ids=["point-wise compression", "item version 4"]
)
def test_what_lazrs_cannot_read_is_left_to_laszip(
    write_cloud: WriteCloud, place: int, value: int
) -> None:
    path = write_cloud("cloud.laz")
    source = read_source(path)
    record = source.find("laszip encoded", 22204)
    assert record is not None
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, record.offset + place, value)
    path.write_bytes(data)
    assert choose_reading(read_source(path)).decoder == "laszip"


def test_a_short_file_says_how_many_points_it_has(write_cloud: WriteCloud) -> None:
    path = write_cloud(points=1000)
    path.write_bytes(path.read_bytes()[: -10 * 36 - 5])
    source = read_source(path)
    with pytest.raises(TaskFailed, match="only 989 can be read") as failure:
        read_all(source, choose_reading(source), 1, 300)
    assert failure.value.code == "points_missing"


class PanicException(BaseException):
    """Like the one of the Rust bindings: no Exception."""


@pytest.mark.parametrize(
    ("thrown", "code"),
    [
        (PanicException("index out of bounds"), "laz_damaged"),
        (lazrs.LazrsError("IoError: failed to fill whole buffer"), "laz_damaged"),
        (ValueError("buffer size"), "laz_damaged"),
        (MemoryError(), "out_of_memory"),
    ],
)
def test_whatever_a_native_decoder_throws_becomes_a_failure(
    write_cloud: WriteCloud, monkeypatch: pytest.MonkeyPatch, thrown: BaseException, code: str
) -> None:
    def explode(*_: object) -> decoder.Fill:
        def fill(_: memoryview) -> int:
            raise thrown

        return fill

    monkeypatch.setitem(decoder._OPENERS, "plain", explode)
    source = read_source(write_cloud())
    with pytest.raises(TaskFailed) as failure:
        read_all(source, choose_reading(source), 1)
    assert failure.value.code == code


def test_being_told_to_stop_is_no_failure_of_the_file(
    write_cloud: WriteCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> decoder.Fill:
        raise KeyboardInterrupt

    monkeypatch.setitem(decoder._OPENERS, "plain", interrupt)
    source = read_source(write_cloud())
    with pytest.raises(KeyboardInterrupt):
        read_all(source, choose_reading(source), 1)

"""Points out of a LAS or LAZ file, in batches, from any position.

Three decoders: `plain` for LAS, `lazrs` for LAZ, and `laszip` for the LAZ that lazrs cannot read
(compression item version 4, and point-wise compression, on which lazrs aborts the process).
"""

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, Literal

import laszip
import lazrs
import numpy as np

from services.processor.pointcloud.failures import (
    header_unusable,
    laz_damaged,
    out_of_memory,
    points_missing,
)
from services.processor.pointcloud.las.excerpt import open_excerpt
from services.processor.pointcloud.las.layers import check_layers, read_compression
from services.processor.pointcloud.las.records import Records, record_dtype
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.octree.chunks import chunk_table
from shared.errors import PointmillError, TaskFailed

Decoder = Literal["plain", "lazrs", "laszip"]
NEWEST_ITEM_OF_LAZRS = 3
_READ_AHEAD = 1 << 20


@dataclass(frozen=True)
class Reading:
    """How a source is to be read.

    Attributes:
        decoder: which decoder to use.
        starts: the numbers of the points at which decoding can begin without what precedes them;
            ascending, the first one 0.
    """

    decoder: Decoder
    starts: Sequence[int]


def choose_reading(source: Source, *, needs_laszip: bool = False) -> Reading:
    """The decoder that fits this source, by what its LAZ record says.

    With `needs_laszip` lazrs is kept away from the file: some damage makes it end the process.
    """
    if not source.compressed:
        return Reading("plain", range(max(source.point_count, 1)))
    if needs_laszip:
        return by_laszip()
    compression = read_compression(source)
    if compression.pointwise or compression.item_version > NEWEST_ITEM_OF_LAZRS:
        return by_laszip()
    try:
        table = read_table(source)
    except TaskFailed:
        # LASzip can do without the table of chunks.
        return by_laszip()
    check_layers(source, compression, table)
    if compression.chunk_points is None:
        return Reading("lazrs", [0, *accumulate(points for points, _ in table[:-1])])
    return Reading("lazrs", range(0, max(source.point_count, 1), compression.chunk_points))


def by_laszip() -> Reading:
    """LASzip finds the chunks itself; it is given the whole file, from the first point on."""
    return Reading("laszip", (0,))


def read_batches(
    source: Source, decoder: Decoder, start: int, count: int, size: int
) -> Iterator[Records]:
    """The `count` points from number `start`, at most `size` at a time, as records of the source.

    All batches are the same memory: asking for the next one overwrites the one before.
    Raises TaskFailed: `points_missing`, `laz_damaged`, `out_of_memory`.
    """
    dtype = record_dtype(source.point_format, source.extra_bytes)
    with source.path.open("rb", buffering=_READ_AHEAD) as file:
        with _speaking_errors(start, start + count):
            fill = _OPENERS[decoder](file, source, start)
        position, end = start, start + count
        room = np.empty(min(size, count), dtype)
        while position < end:
            batch = room[: end - position]
            memory = batch.view(np.uint8).data
            with _speaking_errors(position, position + len(batch)):
                filled = fill(memory)
            if filled < len(memory):
                raise points_missing(position + filled // dtype.itemsize, source.point_count)
            position += len(batch)
            yield batch


Fill = Callable[[memoryview], int]
"""Fills the memory with the next records and says how many bytes it has filled."""


def _open_plain(file: BinaryIO, source: Source, start: int) -> Fill:
    file.seek(source.points_offset + start * source.record_length)

    def fill(memory: memoryview) -> int:
        if not isinstance(file, io.BufferedReader):
            raise TypeError("a buffered file fills the whole memory; a raw one may not")
        return file.readinto(memory)

    return fill


def _open_lazrs(file: BinaryIO, source: Source, start: int) -> Fill:
    record = read_compression(source).record
    if start and lazrs.LazVlr(record).uses_variable_size_chunks():
        # lazrs 0.8 seeks to a wrong place among chunks of different sizes.
        decompressor = lazrs.LasZipDecompressor(_chunks_from(file, source, start), record)
    else:
        file.seek(source.points_offset)
        decompressor = lazrs.LasZipDecompressor(file, record)
        if start:
            decompressor.seek(start)

    def fill(memory: memoryview) -> int:
        decompressor.decompress_many(memory)
        return len(memory)

    return fill


def _chunks_from(file: BinaryIO, source: Source, start: int) -> BinaryIO:
    """A stream that holds the chunks from point `start` on as if there were no others."""
    offset, points = source.points_offset + 8, 0
    table = read_table(source)
    while points < start:
        count, size = table.pop(0)
        offset, points = offset + size, points + count
    total = sum(size for _, size in table)
    pointer = struct.pack("<q", 8 + total)
    return open_excerpt(
        pointer, file, offset, total, chunk_table(table, read_compression(source).record)
    )


def read_table(source: Source) -> list[tuple[int, int]]:
    """The points and bytes of every chunk. Raises TaskFailed `laz_damaged`."""
    with source.path.open("rb") as file, _speaking_errors(0, source.point_count):
        _check_table(file, source)
        file.seek(source.points_offset)
        table: list[tuple[int, int]] = lazrs.read_chunk_table(
            file, lazrs.LazVlr(read_compression(source).record)
        )
    # Some writers add an empty chunk at the end.
    return [entry for entry in table if entry[0]]


def _check_table(file: BinaryIO, source: Source) -> None:
    """Raise ValueError for a table that cannot be: lazrs would end the process over it."""
    file.seek(source.points_offset)
    table_at = int.from_bytes(file.read(8), "little", signed=True)
    if not source.points_offset + 8 <= table_at <= source.size - 8:
        raise ValueError("the table of chunks lies outside the file")
    file.seek(table_at)
    _, chunks = struct.unpack("<II", file.read(8))
    # Every chunk begins with a whole record.
    if chunks > source.size // source.record_length + 1:
        raise ValueError(f"the table of chunks claims {chunks} chunks")


def _open_laszip(file: BinaryIO, source: Source, start: int) -> Fill:
    file.seek(0)
    unzipper = laszip.LasUnZipper(file)
    if unzipper.header.point_data_record_length != source.record_length:
        raise header_unusable("The compressed records have another length than the header says.")
    if start:
        unzipper.seek(start)

    def fill(memory: memoryview) -> int:
        unzipper.decompress_into(memory)
        return len(memory)

    return fill


_OPENERS: dict[Decoder, Callable[[BinaryIO, Source, int], Fill]] = {
    "plain": _open_plain,
    "lazrs": _open_lazrs,
    "laszip": _open_laszip,
}


@contextmanager
def _speaking_errors(first: int, last: int) -> Iterator[None]:
    """Turn whatever a native decoder throws into a TaskFailed about the points first to last."""
    try:
        yield
    except PointmillError:
        raise
    except MemoryError as error:
        raise out_of_memory(f"decoding points {first} to {last}") from error
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    # A panic of the Rust decoder arrives as a BaseException that is no Exception.
    except BaseException as error:
        raise laz_damaged(first, last, reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """What a native decoder says, in one line."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__

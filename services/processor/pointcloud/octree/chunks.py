"""LAZ chunks: groups of records compressed apart from each other, each one COPC node."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import lazrs
import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.records import Records

_TABLE_POINTER = 8
"""A compressor begins its output with the place of the chunk table."""


class Chunk(NamedTuple):
    """A compressed node: how many points it has, and where its bytes lie in the file `segment`."""

    points: int
    segment: str
    offset: int
    size: int


def laz_record(point_format: int, extra_bytes: int) -> bytes:
    """The payload of the `laszip encoded` record for chunks of any size."""
    vlr = lazrs.LazVlr.new_for_compression(point_format, extra_bytes, True)
    return bytes(vlr.record_data())


def compress(groups: Sequence[NDArray[np.uint8]], record: bytes) -> tuple[memoryview, list[int]]:
    """The groups of records as chunks, one after the other, and the size of each."""
    vlr = lazrs.LazVlr(record)
    buffer = io.BytesIO()
    compressor = lazrs.LasZipCompressor(buffer, vlr)
    compressor.compress_chunks(list(groups))
    compressor.done()
    buffer.seek(0)
    # `done` adds an empty chunk behind those that were asked for.
    sizes = [size for _, size in lazrs.read_chunk_table(buffer, vlr)][: len(groups)]
    return buffer.getbuffer()[_TABLE_POINTER : _TABLE_POINTER + sum(sizes)], sizes


def compress_stream(path: Path, batches: Iterable[Records], record: bytes) -> tuple[int, int]:
    """One chunk of all the batches into the file at `path`: its offset there and its size."""
    vlr = lazrs.LazVlr(record)
    with path.open("w+b") as file:
        compressor = lazrs.LasZipCompressor(file, vlr)
        for batch in batches:
            compressor.compress_many(batch.view(np.uint8))
        compressor.done()
        file.seek(0)
        sizes = [size for _, size in lazrs.read_chunk_table(file, vlr)]
    return _TABLE_POINTER, sum(sizes)


def chunk_table(entries: list[tuple[int, int]], record: bytes) -> bytes:
    """The chunk table that stands behind the chunks; entries are (points, bytes)."""
    buffer = io.BytesIO()
    lazrs.write_chunk_table(buffer, entries, lazrs.LazVlr(record))
    return buffer.getvalue()

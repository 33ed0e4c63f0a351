"""Points out of a LAS or LAZ file, in batches, from any position.

Three decoders: `plain` for LAS, `lazrs` for LAZ, and `laszip` for the LAZ that lazrs cannot read
(compression item version 4, and point-wise compression, on which lazrs aborts the process).
"""

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from services.processor.pointcloud.records import Records, record_dtype
from services.processor.pointcloud.source import Source
from shared.errors import PointmillError

Decoder = Literal["plain", "lazrs", "laszip"]
_POINTWISE = 1
_NEWEST_ITEM_OF_LAZRS = 3
_VARIABLE_CHUNKS = 0xFFFFFFFF
_READ_AHEAD = 1 << 20


@dataclass(frozen=True)
class Reading:
    """How a source is to be read.

    Attributes:
        decoder: which decoder to use.
        chunk: where a range of points should start: a multiple of this many points.
        seekable: whether a range may start anywhere but at the first point without decoding all
            that precedes it.
    """

    decoder: Decoder
    chunk: int = 1
    seekable: bool = True


def choose_reading(source: Source) -> Reading:
    """The decoder that fits this source, by what its LAZ record says."""
    if not source.compressed:
        return Reading("plain")
    record = source.find("laszip encoded", 22204)
    if record is None:
        raise header_unusable("The points are compressed, but the record that says how is missing.")
    payload = record.payload(source.path)
    if len(payload) < 34:
        raise header_unusable("The record that says how the points are compressed is too short.")
    compressor = struct.unpack_from("<H", payload, 0)[0]
    chunk, items = (
        struct.unpack_from("<I", payload, 12)[0],
        struct.unpack_from("<H", payload, 32)[0],
    )
    versions = [
        struct.unpack_from("<H", payload, at)[0]
        for at in range(38, min(34 + 6 * items, len(payload) - 1), 6)
    ]
    if compressor == _POINTWISE:
        return Reading("laszip", seekable=False)
    step = 1 if chunk in (0, _VARIABLE_CHUNKS) else chunk
    too_new = any(version > _NEWEST_ITEM_OF_LAZRS for version in versions)
    return Reading("laszip" if too_new else "lazrs", chunk=step)


def read_batches(
    source: Source, decoder: Decoder, start: int, count: int, size: int
) -> Iterator[Records]:
    """The `count` points from number `start`, at most `size` at a time, as records of the source.

    Raises TaskFailed: `points_missing`, `laz_damaged`, `out_of_memory`.
    """
    dtype = record_dtype(source.point_format, source.extra_bytes)
    with source.path.open("rb", buffering=_READ_AHEAD) as file:
        with _speaking_errors(start, start + count):
            fill = _OPENERS[decoder](file, source, start)
        position, end = start, start + count
        while position < end:
            batch = np.empty(min(size, end - position), dtype)
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
    record = source.find("laszip encoded", 22204)
    if record is None:
        raise header_unusable("The points are compressed, but the record that says how is missing.")
    file.seek(source.points_offset)
    decompressor = lazrs.LasZipDecompressor(file, record.payload(source.path))
    if start:
        decompressor.seek(start)

    def fill(memory: memoryview) -> int:
        decompressor.decompress_many(memory)
        return len(memory)

    return fill


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
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise laz_damaged(first, last, reason) from error

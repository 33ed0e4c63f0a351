"""The least that any mill has to do: decode the source, encode the finished chunks, nothing else.

    python -m tests.bench.engine.floor SOURCE COPC RAW BATCH_POINTS PROCESSES

Each of the processes decodes its share of the source's chunks into one buffer, over and over, and
compresses its share of the product's chunks, whose records lie decoded in the file RAW (made by
`write_raw` before anything is measured), and throws all of it away. One interpreter is started and
forks the others, as the engine does.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import lazrs
import numpy as np

from services.processor.pointcloud.las.source import Source, read_source
from services.processor.pointcloud.octree.chunks import compress

_GROUP_POINTS = 250_000


def write_raw(copc: Path, raw: Path) -> None:
    """All records of a COPC file, in the order in which its chunks lie in it."""
    source = read_source(copc)
    with copc.open("rb") as file, raw.open("wb") as out:
        decompressor = _decompressor(file, source)
        for points in _chunk_points(source):
            buffer = np.empty(points * source.record_length, np.uint8)
            decompressor.decompress_many(buffer)
            buffer.tofile(out)


def decode(source: Source, batch: int, number: int, processes: int) -> int:
    """Decode every PROCESSES-th piece of about `batch` points; says how many points they had."""
    chunk = lazrs.LazVlr(_laz_record(source)).chunk_size()
    step = max(batch // chunk, 1) * chunk
    buffer = np.empty(step * source.record_length, np.uint8)
    decoded = 0
    with source.path.open("rb", buffering=1 << 20) as file:
        decompressor = _decompressor(file, source)
        for start in range(number * step, source.point_count, processes * step):
            points = min(step, source.point_count - start)
            decompressor.seek(start)
            decompressor.decompress_many(buffer[: points * source.record_length])
            decoded += points
    return decoded


def encode(copc: Source, raw: Path, number: int, processes: int) -> int:
    """Compress every PROCESSES-th group of the product's chunks anew; says how many points.

    Several chunks are compressed by one call, as the engine does with those of a cell: it is a
    little cheaper than a call for each.
    """
    rows, record = np.memmap(raw, np.uint8, "r"), _laz_record(copc)
    encoded, at = 0, 0
    for place, counts in enumerate(_groups(_chunk_points(copc))):
        ends = at + copc.record_length * np.cumsum([0, *counts])
        if place % processes == number:
            compress([rows[start:end] for start, end in pairwise(ends.tolist())], record)
            encoded += sum(counts)
        at = int(ends[-1])
    return encoded


def _groups(counts: Iterable[int]) -> Iterator[list[int]]:
    """Runs of chunks with about as many points together as a cell of the engine has."""
    run: list[int] = []
    for count in counts:
        run.append(count)
        if sum(run) >= _GROUP_POINTS:
            yield run
            run = []
    if run:
        yield run


def _chunk_points(copc: Source) -> Iterator[int]:
    with copc.path.open("rb") as file:
        file.seek(copc.points_offset)
        for points, _ in lazrs.read_chunk_table(file, lazrs.LazVlr(_laz_record(copc))):
            yield points


def _decompressor(file: BinaryIO, source: Source) -> lazrs.LasZipDecompressor:
    file.seek(source.points_offset)
    return lazrs.LasZipDecompressor(file, _laz_record(source))


def _laz_record(source: Source) -> bytes:
    record = source.find("laszip encoded", 22204)
    if record is None:
        raise ValueError(f"{source.path} is not compressed")
    return record.payload(source.path)


def main() -> None:
    """Fork, and do every process's share."""
    source, copc, raw = read_source(Path(sys.argv[1])), read_source(Path(sys.argv[2])), sys.argv[3]
    batch, processes = map(int, sys.argv[4:])
    number = next((number for number in range(1, processes) if not os.fork()), 0)
    done = decode(source, batch, number, processes), encode(copc, Path(raw), number, processes)
    sys.stdout.write(f"{done[0]} {done[1]}\n")
    sys.stdout.flush()
    for _ in range(1, processes if number == 0 else 1):
        _, status = os.wait()
        if status:
            sys.exit("a share of the work has failed")


if __name__ == "__main__":
    main()

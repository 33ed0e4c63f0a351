"""The process that dares to decode what is damaged, and may die of it.

Started as `python -m services.processor.pointcloud.salvage.prober FD PARENT`. It takes a site, then errand
after errand; what it decodes it writes at once, and only then says so. Whoever sent it knows from
its last word how far it has come, and starts another one if it is dead.
"""

import contextlib
import io
import math
import os
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import BinaryIO, Literal

import laszip
import lazrs
import numpy as np

from services.processor.pointcloud.crew_member import die_with
from services.processor.pointcloud.failures import writing_failed
from services.processor.pointcloud.las.decoder import reason_of
from services.processor.pointcloud.las.excerpt import open_excerpt
from services.processor.pointcloud.las.layers import CHUNK_SIZE_AT
from services.processor.pointcloud.las.records import record_dtype
from services.processor.pointcloud.octree.chunks import chunk_table
from services.processor.pointcloud.salvage.errands import (
    PATIENCE_SECONDS,
    POINTS_A_SECOND,
    Batch,
    Daring,
    Errand,
    Site,
)
from shared.errors import PointmillError

_POINTER_BYTES = 8
_SKIP = 1 << 16
_MAPPED_BYTES = 1 << 30  # address space of the interpreter and its libraries, with room to spare


Word = tuple[Literal["written"], Batch] | tuple[Literal["done", "damaged", "failed"], object]


def serve(connection: Connection) -> None:
    """Take the site, then errand after errand until the other end is closed."""
    site = connection.recv()
    _limit_memory(site.memory_bytes)
    while True:
        errand = connection.recv()
        for word in _answers(site, errand):
            connection.send(word)


def _answers(site: Site, errand: Errand) -> Iterator[Word]:
    stream = None
    with site.source.path.open("rb") as file:
        try:
            stream = _OPENERS[errand.decoder](file, site, errand)
            for batch in _decode(site, errand, stream):
                yield "written", batch
            yield "done", None
        except PointmillError as error:
            yield "failed", error.to_dict()
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        # A panic of the Rust decoder arrives as a BaseException that is no Exception.
        except BaseException as error:
            at_end = stream is not None and not stream.read(1)
            yield "damaged", (reason_of(error), at_end)


def _decode(site: Site, errand: Errand, stream: BinaryIO) -> Iterator[Batch]:
    dtype = record_dtype(site.source.point_format, site.source.extra_bytes)
    rescued = os.open(site.rescued, os.O_WRONLY)
    try:
        _limit_time(errand.step)
        fill = _FILLERS[errand.decoder](stream, site)
        again = _Recompression(site) if errand.decoder == "lazrs" else None
        position, write_at = 0, errand.write_at
        while position < errand.points:
            # What is known already is decoded once more, and not written.
            known = position < errand.skip
            step, end = (_SKIP, errand.skip) if known else (errand.step, errand.points)
            batch = np.empty(min(step, end - position), dtype)
            memory = batch.view(np.uint8).data
            _limit_time(len(batch))
            fill(memory)
            position += len(batch)
            if not known:
                write_at += _write(rescued, memory, write_at)
                outside = site.fence.outside(batch) if site.fence else (0, 0, 0)
                same = again.gives_same(memory, errand, position) if again else None
                yield Batch(len(batch), *outside, same)
    finally:
        os.close(rescued)


def _write(rescued: int, memory: memoryview, at: int) -> int:
    try:
        written = 0
        while written < len(memory):
            written += os.pwrite(rescued, memory[written:], at + written)
    except OSError as error:
        raise writing_failed(error) from error
    return written


def _chunk_alone(file: BinaryIO, site: Site, errand: Errand) -> BinaryIO:
    """The chunk as if it were the only one of the points of a file."""
    size = errand.end - errand.start
    table = chunk_table([(errand.points, size)], site.compression.record)
    pointer = struct.pack("<q", _POINTER_BYTES + size)
    return open_excerpt(pointer, file, errand.start, size, table)


def _file_without_table(file: BinaryIO, site: Site, errand: Errand) -> BinaryIO:
    """The bytes as if the program that wrote the file had stopped before it wrote the table."""
    source, compression = site.source, site.compression
    head = bytearray(file.read(source.points_offset))
    struct.pack_into("<I", head, 107, min(errand.points, 0xFFFFFFFF))
    if source.version >= (1, 4):
        struct.pack_into("<Q", head, 247, errand.points)
    if not compression.pointwise:
        head += struct.pack("<q", source.points_offset)
    found = source.find("laszip encoded", 22204)
    if found is not None and compression.chunk_points is None:
        struct.pack_into("<I", head, found.offset + CHUNK_SIZE_AT, errand.points)
    return open_excerpt(bytes(head), file, errand.start, errand.end - errand.start, b"")


_OPENERS: dict[Daring, Callable[[BinaryIO, Site, Errand], BinaryIO]] = {
    "lazrs": _chunk_alone,
    "laszip": _file_without_table,
}


def _by_lazrs(stream: BinaryIO, site: Site) -> Callable[[memoryview], None]:
    fill: Callable[[memoryview], None] = lazrs.LasZipDecompressor(
        stream, site.compression.record
    ).decompress_many
    return fill


def _by_laszip(stream: BinaryIO, _: Site) -> Callable[[memoryview], None]:
    fill: Callable[[memoryview], None] = laszip.LasUnZipper(stream).decompress_into
    return fill


_FILLERS: dict[Daring, Callable[[BinaryIO, Site], Callable[[memoryview], None]]] = {
    "lazrs": _by_lazrs,
    "laszip": _by_laszip,
}


class _Recompression:
    """Compresses the points of a chunk again, as lazrs and LASzip do to the same bytes.

    Wrong bits often decode without an error, to wrong points; but then these take more or fewer
    bytes than the chunk has.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._bytes = io.BytesIO()
        self._vlr = lazrs.LazVlr(site.compression.record)
        self._compressor = lazrs.LasZipCompressor(self._bytes, self._vlr)

    def gives_same(self, memory: memoryview, errand: Errand, position: int) -> bool | None:
        """Take these records; with the last ones of the chunk say whether its bytes come again."""
        self._compressor.compress_many(memory)
        if position < errand.points:
            return None
        self._compressor.done()
        self._bytes.seek(0)
        (_, size), *_ = lazrs.read_chunk_table(self._bytes, self._vlr)
        again = self._bytes.getvalue()[_POINTER_BYTES:][:size]
        with self._site.source.path.open("rb") as file:
            file.seek(errand.start)
            chunk = file.read(errand.end - errand.start)
        if not self._site.compression.layered:
            return chunk == again
        return list(self._layers(chunk, again)) == list(self._layers(again, again))

    def _layers(self, chunk: bytes, again: bytes) -> Iterator[bytes]:
        """The first record and the layers of a chunk, but for those that came out empty.

        Such a layer does not change from point to point; some programs write it all the same.
        """
        length = self._site.source.record_length
        numbers = struct.Struct(f"<I{self._site.compression.layers}I")
        at = length + numbers.size
        yield chunk[:length]
        sizes = zip(
            numbers.unpack_from(chunk, length)[1:],
            numbers.unpack_from(again, length)[1:],
            strict=True,
        )
        for size, size_again in sizes:
            if size_again:
                yield chunk[at : at + size]
            at += size


def _limit_memory(memory_bytes: int) -> None:
    """Let an absurd allocation fail here, before it is seen as that of the whole attempt."""
    _lower(resource.RLIMIT_AS, _MAPPED_BYTES + memory_bytes)


def _limit_time(points: int) -> None:
    """Let the kernel end this process if the next `points` take absurdly long.

    Processor time, not time on the clock: what can be rescued must not depend on a busy machine.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    allowed = PATIENCE_SECONDS + points / POINTS_A_SECOND
    _lower(resource.RLIMIT_CPU, math.ceil(usage.ru_utime + usage.ru_stime + allowed))


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main() -> None:
    """Serve on the descriptor that the command line names."""
    die_with(int(sys.argv[2]))
    with contextlib.suppress(EOFError, BrokenPipeError), Connection(int(sys.argv[1])) as connection:
        serve(connection)


if __name__ == "__main__":
    main()

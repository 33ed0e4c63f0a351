"""Where the chunks of a damaged LAZ file lie.

A chunk table whose lengths account for every byte up to itself is believed; it is looked for where
the file says and, should that be wrong, near the end. Without one, layered chunks are walked: each
says how long it is. Where one of them lies, the next head is searched for by the number of points
that a chunk has. Interleaved chunks (point formats 0 to 5) say nothing; without a table they can
only be read in order.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from services.processor.pointcloud.las.layers import Compression, Head, ReadHead, head_reader
from services.processor.pointcloud.las.source import Source
from shared.preflight.arithmetic import Decoder, Integers

_POINTER_BYTES = 8
_TABLE_HEAD = struct.Struct("<II")  # version 0, number of chunks
_SEARCHED_BYTES = 4 << 20
_BLOCK = 4 << 20
_MOST_CHUNKS = 1 << 20  # 50 thousand million points of the usual 50 000 a chunk

How = Literal["by its table", "by the chunks' own lengths", "in order"]


@dataclass(frozen=True)
class Fragment:
    """Bytes `start` to `end` of a file: a chunk, or a gap where no chunk can be made out.

    `counts` are the numbers of points that a chunk may have, the likeliest first; a gap has none.
    """

    start: int
    end: int
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Found:
    """What was found, in the order of the file; nothing if the points have to be read in order.

    The fragments can be gone through once: a file can be made of any number of tiny ones.
    """

    how: How
    fragments: Iterable[Fragment] = ()


def find_fragments(source: Source, compression: Compression) -> Found:
    """Find the chunks of a LAZ file that may be damaged anywhere behind its records."""
    if compression.pointwise or source.size < source.points_offset + _POINTER_BYTES:
        return Found("in order")
    with source.path.open("rb") as file:
        for place in _places_of_table(file, source, compression):
            table = _read_table(file, source, compression, place)
            if table is not None:
                return Found("by its table", _from_table(source, compression, table))
    if compression.layered:
        return Found("by the chunks' own lengths", _walk(source, compression))
    return Found("in order")


def _places_of_table(file: BinaryIO, source: Source, compression: Compression) -> Iterator[int]:
    """Where the table may lie: as the file says, at its start or at its end, and where it looks so."""
    for at in (source.points_offset, source.size - _POINTER_BYTES):
        file.seek(at)
        yield int.from_bytes(file.read(_POINTER_BYTES), "little", signed=True)
    if compression.chunk_points is None:
        return
    searched_from = max(source.points_offset + _POINTER_BYTES, source.size - _SEARCHED_BYTES)
    file.seek(searched_from)
    tail = file.read(_SEARCHED_BYTES)
    chunks = -(-source.point_count // compression.chunk_points)
    for count in (chunks, chunks + 1):
        pattern = _TABLE_HEAD.pack(0, count & 0xFFFFFFFF)
        at = tail.rfind(pattern)
        if at >= 0:
            yield searched_from + at


def _read_table(
    file: BinaryIO, source: Source, compression: Compression, place: int
) -> list[tuple[int, int]] | None:
    """Points (0 where all chunks have the same) and bytes of each chunk; None if it cannot be."""
    first = source.points_offset + _POINTER_BYTES
    if not first <= place <= source.size - _TABLE_HEAD.size:
        return None
    file.seek(place)
    version, count = _TABLE_HEAD.unpack(file.read(_TABLE_HEAD.size))
    room = place - first
    if version != 0 or not 0 < count <= min(room // source.record_length + 1, _MOST_CHUNKS):
        return None
    table = _decode_table(file, compression, count)
    left = room - sum(length for _, length in table or [])
    if table is None or left == 0:
        return table
    uncounted = source.point_count - sum(points for points, _ in table)
    if compression.chunk_points is None and not compression.layered and min(left, uncounted) > 0:
        # A writer is known that forgets the last chunk of varying size in its table.
        return [*table, (uncounted, left)]
    return None


def _decode_table(
    file: BinaryIO, compression: Compression, count: int
) -> list[tuple[int, int]] | None:
    table, points, length = [], 0, 0
    # No entry takes more than two numbers of at most 48 bits.
    data = file.read(16 + 12 * count)
    try:
        integers = Integers(Decoder(data), contexts=2)
        for _ in range(count):
            if compression.chunk_points is None:
                points = integers.next(points, 0)
            length = integers.next(length, 1)
            table.append((points, length))
    except EOFError:
        return None
    return table


def _from_table(
    source: Source, compression: Compression, table: list[tuple[int, int]]
) -> Iterator[Fragment]:
    read_head = head_reader(source, compression)
    begin = source.points_offset + _POINTER_BYTES
    # Some writers add an empty chunk at the end.
    while table and table[-1][1] < source.record_length:
        table.pop()
    with source.path.open("rb") as file:
        for before, (points, size) in enumerate(table):
            last = before + 1 == len(table)
            counts = [compression.chunk_points or points]
            if compression.chunk_points and last:
                counts = _counts_of_last(source, compression.chunk_points, before)
            head = read_head(file, begin) if compression.layered else None
            if head is not None and head.length == size:
                # Its layers fit, so what it says of its points is likely to be right as well.
                counts = [head.points, *counts] if last else [*counts, head.points]
            yield Fragment(begin, begin + size, _usable(counts, compression))
            begin += size


def _counts_of_last(source: Source, chunk_points: int, before: int) -> list[int]:
    """How many points the last chunk may have, by all that the header says; `before` are full."""
    totals = (source.point_count, sum(source.returns_in_header))
    rests = [total - before * chunk_points for total in totals]
    return [*rests, chunk_points]


def _usable(counts: list[int], compression: Compression) -> tuple[int, ...]:
    most = compression.chunk_points or 0xFFFFFFFF
    return tuple(dict.fromkeys(count for count in counts if 0 < count <= most))


def _walk(source: Source, compression: Compression) -> Iterator[Fragment]:
    with source.path.open("rb") as file:
        yield from _Walk(file, source, compression).fragments()


class _Walk:
    """Goes from one layered chunk to the next by what they say of themselves."""

    def __init__(self, file: BinaryIO, source: Source, compression: Compression) -> None:
        self._file, self._source = file, source
        self._read: ReadHead = head_reader(source, compression)
        self._most = compression.chunk_points
        evlrs = [record.offset - 60 for record in source.carried if record.extended]
        self._first = source.points_offset + _POINTER_BYTES
        self._end = min([source.size, *(at for at in evlrs if at >= self._first)])
        file.seek(source.points_offset)
        self._table = int.from_bytes(file.read(_POINTER_BYTES), "little", signed=True)
        full = self._most
        sizes = {full, source.point_count % full} - {0} if full else set()
        self._patterns = [struct.pack("<I", size) for size in sizes]

    def fragments(self) -> Iterator[Fragment]:
        """Chunks and gaps from the first byte to the last that may belong to a chunk."""
        at = self._first
        while at < self._end:
            head = self._head(at)
            end = at + head.length if head else self._end
            if head is None or self._head(end) is None:
                # The last chunk, or one that lies about its length, or the place was lost before.
                following = self._search(at + 1)
                if following is not None and (head is None or following < end):
                    head, end = None, following
            if head is None and end == self._end and self._is_no_chunk(at):
                return
            yield Fragment(at, end, (head.points,) if head else ())
            at = end

    def _is_no_chunk(self, at: int) -> bool:
        """Whether what remains is too short for one, or lies where the table should."""
        return at == self._table or self._end - at < self._source.record_length

    def _head(self, at: int) -> Head | None:
        """The head of the chunk at this byte, if it can be one."""
        head = self._read(self._file, at)
        if head is None or head.points == 0 or at + head.length > self._end:
            return None
        return head if self._most is None or head.points <= self._most else None

    def _search(self, start: int) -> int | None:
        """The first byte from `start` on where a chunk with a usual number of points may begin."""
        reach = self._source.record_length
        at = start
        while at < self._end and self._patterns:
            self._file.seek(at + reach)
            block = self._file.read(_BLOCK + 3)
            hits = sorted(hit for pattern in self._patterns for hit in _occurrences(block, pattern))
            for hit in hits:
                if self._head(at + hit) is not None:
                    return at + hit
            if len(block) < _BLOCK:
                return None
            at += _BLOCK
        return None


def _occurrences(block: bytes, pattern: bytes) -> Iterator[int]:
    at = block.find(pattern)
    while at >= 0:
        yield at
        at = block.find(pattern, at + 1)

"""The table of compressed chunks, and the sizes each chunk states of itself.

lazrs aborts the whole process on a chunk count of four billion and reserves four gigabytes for a
layer that says it has them, so both are compared with the file first.
"""

import struct
from dataclasses import dataclass

from shared.preflight.arithmetic import Decoder, Integers
from shared.preflight.header import Header
from shared.preflight.laszip import Compression
from shared.preflight.refusals import refusal
from shared.preflight.source import Source

_POINTER = struct.Struct("<q")
_TABLE_HEAD = struct.Struct("<II")  # version 0, number of chunks
_MOST_DECODED = 16_384
"""Chunks whose table is decoded here, 800 million points of the usual 50 000; takes 0.1 s."""
_MOST_TABLE_BYTES = 256 << 10  # more than that many entries can take
_RESERVED = 448 << 10  # of the budget, for the records that are read after the chunks


@dataclass(frozen=True)
class Chunk:
    """One compressed chunk: where it starts, its bytes, its points."""

    start: int
    length: int
    points: int


@dataclass(frozen=True)
class ChunkTable:
    """What is known about the chunks.

    Attributes:
        count: how many there are; None where no table says so.
        complete: the table accounts for every byte and point. Where it does not, only the LASzip
            library, reading from the first point on, can read the file.
    """

    count: int | None
    complete: bool


def check_chunks(source: Source, header: Header, compression: Compression) -> ChunkTable:
    """Compare chunk table and chunks with the header and the file.

    Raises:
        TaskFailed: cut off, damaged, or not the number of points that the header says.
    """
    if compression.compressor == 1:
        return ChunkTable(None, complete=True)
    place = _table_place(source, header, compression)
    if place is None:
        return ChunkTable(None, complete=header.point_count == 0)
    version, count = _TABLE_HEAD.unpack(source.at(place, _TABLE_HEAD.size))
    if version != 0:
        raise refusal("chunk_table_damaged", f"The table has version {version}; only 0 exists.")
    room = place - header.point_offset - _POINTER.size
    _check_count(header, compression, count, room)
    if count > _MOST_DECODED:
        return ChunkTable(count, complete=True)
    chunks = _decode_table(source, header, compression, place, count)
    complete = _check_sums(header, compression, chunks, room)
    if compression.layered:
        _check_layers(source, header, compression, chunks)
    return ChunkTable(count, complete)


def _table_place(source: Source, header: Header, compression: Compression) -> int | None:
    """Byte where the table starts; None where there is none and LASzip can do without."""
    first = header.point_offset + _POINTER.size
    raw = source.at(header.point_offset, _POINTER.size)
    if len(raw) < _POINTER.size:
        if header.point_count == 0:
            return None
        raise refusal("laz_truncated", "The file ends where the compressed points should start.")
    (place,) = _POINTER.unpack(raw)
    if place == -1:  # Written as a stream: the place follows at the very end of the file.
        (place,) = _POINTER.unpack(source.at(source.size - _POINTER.size, _POINTER.size))
        if _is_table(source, place, first):
            return int(place)
        # LASzip, which would find the chunks one by one, stumbles over a place outside the file.
        interrupted = 0 <= place <= source.size
    else:
        interrupted = place == header.point_offset
        if not interrupted:
            _check_place(source, place, first)
            return int(place)
    if not interrupted or compression.variable:
        raise refusal("chunk_table_missing", "The program that wrote the file did not finish it.")
    if header.point_count == 0 and source.size - first >= header.record_length:
        raise refusal(
            "points_uncounted", f"The header promises 0 points; {source.size - first} bytes follow."
        )
    return None


def _is_table(source: Source, place: int, first: int) -> bool:
    # The last bytes of a point may look like a place in the file, so the head must fit as well.
    if not first <= place <= source.size - _POINTER.size - _TABLE_HEAD.size:
        return False
    version, count = _TABLE_HEAD.unpack(source.at(place, _TABLE_HEAD.size))
    return bool(version == 0 and count <= source.size)


def _check_place(source: Source, place: int, first: int) -> None:
    if place > source.size - _TABLE_HEAD.size:
        raise refusal(
            "laz_truncated",
            f"The chunk table should be at byte {place}; the file ends at {source.size}.",
        )
    if place < first:
        raise refusal(
            "chunk_table_damaged", f"The table should be at byte {place}, before the points."
        )


def _check_count(header: Header, compression: Compression, count: int, room: int) -> None:
    # Every chunk starts with one whole point; some writers close with an empty chunk.
    if count and (count - 1) * header.record_length > room:
        raise refusal(
            "chunk_table_damaged",
            f"The table counts {count} chunks; {room} bytes cannot hold them.",
        )
    if compression.variable:
        return
    expected = -(-header.point_count // compression.chunk_size)
    if count not in (expected, expected + 1):
        raise refusal(
            "chunk_count_mismatch",
            f"{header.point_count} points in chunks of {compression.chunk_size} make {expected} "
            f"chunks; the table has {count}.",
        )


def _decode_table(
    source: Source, header: Header, compression: Compression, place: int, count: int
) -> list[Chunk]:
    chunks: list[Chunk] = []
    if count == 0:
        return chunks
    start, length, points = header.point_offset + _POINTER.size, 0, 0
    left = header.point_count
    try:
        integers = Integers(Decoder(source.at(place + 8, _MOST_TABLE_BYTES)), contexts=2)
        for _ in range(count):
            if compression.variable:
                points = integers.next(points, 0)
            else:
                points = min(compression.chunk_size, left)
            length = integers.next(length, 1)
            chunks.append(Chunk(start, length, points))
            start, left = start + length, left - points
    except EOFError:
        raise refusal(
            "chunk_table_damaged", f"The table ends after {len(chunks)} of {count} chunks."
        ) from None
    return chunks


def _check_sums(header: Header, compression: Compression, chunks: list[Chunk], room: int) -> bool:
    """Whether the table accounts for all bytes and points; refuses one that cannot be right."""
    for number, chunk in enumerate(chunks, 1):
        if chunk.points and chunk.length < header.record_length:
            raise refusal(
                "chunk_table_damaged",
                f"Chunk {number} would have {chunk.length} bytes for {chunk.points} points.",
            )
        if not chunk.points and chunk.length >= header.record_length:
            raise refusal(
                "chunk_count_mismatch",
                f"Chunk {number} has {chunk.length} bytes; by the header it would have no points.",
            )
    length = sum(chunk.length for chunk in chunks)
    points = sum(chunk.points for chunk in chunks)
    if length == room and points == header.point_count:
        return True
    # A writer is known that forgets the last chunk of varying size in its table.
    forgotten = compression.variable and not compression.layered
    if forgotten and 0 < length < room and 0 < points < header.point_count:
        return False
    if length != room:
        raise refusal(
            "chunk_table_damaged",
            f"The table's chunks add up to {length} bytes; the file has {room}.",
        )
    raise refusal(
        "chunk_count_mismatch",
        f"The header says {header.point_count} points, the chunk table {points}.",
    )


def _check_layers(
    source: Source, header: Header, compression: Compression, chunks: list[Chunk]
) -> None:
    """Compare what layered chunks say of themselves: points, and bytes per layer.

    The first and the last chunk come first, in case the budget does not last for all.
    """
    layers = struct.Struct(f"<I{compression.layer_count}I")
    ends = (1, len(chunks))
    for number, chunk in sorted(enumerate(chunks, 1), key=lambda item: item[0] not in ends):
        if chunk.points == 0 or source.budget - layers.size < _RESERVED:
            continue
        raw = source.at(chunk.start + header.record_length, layers.size)
        points, *sizes = layers.unpack(raw) if len(raw) == layers.size else (0,)
        if points != chunk.points:
            raise refusal(
                "chunk_count_mismatch",
                f"Chunk {number} should have {chunk.points} points, it says {points}.",
            )
        if header.record_length + layers.size + sum(sizes) != chunk.length:
            raise refusal(
                "chunk_damaged",
                f"The layers of chunk {number} do not add up to its {chunk.length} bytes.",
            )

"""How the points of a LAZ file are compressed, and what the head of a layered chunk says of it.

A chunk of a modern LAZ file is a whole record, the number of its points, the length of each of its
layers, and the layers. A decoder allocates what it says: a single flipped bit can ask for
gigabytes, and lazrs ends the process when it cannot get them. Adding the lengths up first is cheap.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from services.processor.pointcloud.failures import header_unusable, laz_damaged
from services.processor.pointcloud.las.source import Source

CHUNK_SIZE_AT = 12
"""Byte of the `laszip encoded` record where the points per chunk stand."""

_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
"""Layers by item type: point, colour, colour with infrared, wave packet."""

_EXTRA_BYTES_ITEM = 14
_POINTWISE, _LAYERED = 1, 3
_VARIABLE = (0, 0xFFFFFFFF)


@dataclass(frozen=True)
class Compression:
    """The content of the `laszip encoded` record.

    Attributes:
        record: its payload.
        compressor: 1 one stream of points, 2 chunks of interleaved points, 3 chunks of layers.
        chunk_points: points per chunk; None where chunks vary.
        item_version: the newest version among its items.
        layers: how many layers a chunk has; 0 where it has none.
    """

    record: bytes
    compressor: int
    chunk_points: int | None
    item_version: int
    layers: int

    @property
    def layered(self) -> bool:
        """Whether the chunks say of themselves how many points and bytes they have."""
        return self.compressor == _LAYERED

    @property
    def pointwise(self) -> bool:
        """Whether there are no chunks at all."""
        return self.compressor == _POINTWISE


def read_compression(source: Source) -> Compression:
    """How the points of this LAZ file are compressed. Raises TaskFailed `header_unusable`."""
    found = source.find("laszip encoded", 22204)
    if found is None:
        raise header_unusable("The points are compressed, but the record that says how is missing.")
    record = found.payload(source.path)
    if len(record) < 34:
        raise header_unusable("The record that says how the points are compressed is too short.")
    (compressor,) = struct.unpack_from("<H", record, 0)
    (chunk_points,) = struct.unpack_from("<I", record, CHUNK_SIZE_AT)
    (count,) = struct.unpack_from("<H", record, 32)
    items = list(struct.iter_unpack("<3H", record[34 : 34 + min(count, len(record) // 6 - 5) * 6]))
    return Compression(
        record=record,
        compressor=compressor,
        chunk_points=None if chunk_points in _VARIABLE else chunk_points,
        item_version=max((version for _, _, version in items), default=0),
        layers=sum(
            size if kind == _EXTRA_BYTES_ITEM else _LAYERS.get(kind, 0) for kind, size, _ in items
        )
        if compressor == _LAYERED
        else 0,
    )


@dataclass(frozen=True)
class Head:
    """What a layered chunk says of itself: its points, and its bytes, head included."""

    points: int
    length: int


ReadHead = Callable[[BinaryIO, int], Head | None]
"""Reads the head of the chunk at this byte of the file; None where the file ends before it does."""


def head_reader(source: Source, compression: Compression) -> ReadHead:
    """How to read the heads of the layered chunks of this source."""
    numbers = struct.Struct(f"<{1 + compression.layers}I")

    def read(file: BinaryIO, start: int) -> Head | None:
        file.seek(start + source.record_length)
        data = file.read(numbers.size)
        if len(data) < numbers.size:
            return None
        points, *sizes = numbers.unpack(data)
        return Head(points, source.record_length + numbers.size + sum(sizes))

    return read


def check_layers(source: Source, compression: Compression, table: list[tuple[int, int]]) -> None:
    """Raise TaskFailed `laz_damaged` for the first chunk whose layers are longer than it is."""
    if not compression.layered:
        return
    read_head = head_reader(source, compression)
    offsets = accumulate((size for _, size in table), initial=source.points_offset + 8)
    first = 0
    with source.path.open("rb") as file:
        for (points, size), offset in zip(table, offsets, strict=False):
            head = read_head(file, offset)
            # A chunk of one point has nothing but that point.
            if points > 1 and head is not None and head.length > size:
                raise laz_damaged(first, first + points, "its layers are longer than its chunk")
            first += points

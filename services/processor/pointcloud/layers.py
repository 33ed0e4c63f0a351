"""Whether the layers of compressed chunks fit into their chunks.

A chunk of a modern LAZ file says how long each of its layers is, and a decoder allocates what it
says: a single flipped bit can ask for gigabytes, and lazrs ends the process when it cannot get
them. Adding the lengths up first is cheap.
"""

import struct
from itertools import accumulate

from services.processor.pointcloud.failures import laz_damaged
from services.processor.pointcloud.source import Source

_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
"""Layers by item type: point, colour, colour with infrared, wave packet."""

_EXTRA_BYTES_ITEM = 14
_LAYERED = 3


def check_layers(source: Source, laz_record: bytes, table: list[tuple[int, int]]) -> None:
    """Raise TaskFailed `laz_damaged` for the first chunk whose layers are longer than it is."""
    if struct.unpack_from("<H", laz_record, 0)[0] != _LAYERED:
        return
    layers = _layer_count(laz_record)
    head = source.record_length + 4
    sizes = struct.Struct(f"<{layers}I")
    offsets = accumulate((size for _, size in table), initial=source.points_offset + 8)
    first = 0
    with source.path.open("rb") as file:
        for (points, size), offset in zip(table, offsets, strict=False):
            file.seek(offset + head)
            data = file.read(sizes.size)
            # A chunk of one point has nothing but that point.
            claimed = sum(sizes.unpack(data)) if len(data) == sizes.size else size
            if points > 1 and head + sizes.size + claimed > size:
                raise laz_damaged(first, first + points, "its layers are longer than its chunk")
            first += points


def _layer_count(laz_record: bytes) -> int:
    items = struct.unpack_from("<H", laz_record, 32)[0]
    layers = 0
    for at in range(34, min(34 + 6 * items, len(laz_record) - 5), 6):
        kind, size, _ = struct.unpack_from("<3H", laz_record, at)
        layers += size if kind == _EXTRA_BYTES_ITEM else _LAYERS.get(kind, 0)
    return layers

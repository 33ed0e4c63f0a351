"""How compressed points are described: the LASzip record and the place of the chunk table."""

import struct
from dataclasses import dataclass

from shared.preflight.header import Header
from shared.preflight.model import Vlr
from shared.preflight.refusals import refusal
from shared.preflight.source import Source

RECORD = ("laszip encoded", 22204)
"""User and number of the record that describes the compression."""
_VARIABLE = 0xFFFFFFFF
_FIXED = struct.Struct("<HHBBHIIqqH")  # up to and with the number of items
_ITEM = struct.Struct("<HHH")  # type, size, version
_BYTES, _POINT10, _GPS, _RGB, _WAVE = 0, 6, 7, 8, 9
_POINT14, _RGB14, _RGBN14, _WAVE14, _BYTES14 = 10, 11, 12, 13, 14
_SIZES = {
    _POINT10: 20,
    _GPS: 8,
    _RGB: 6,
    _WAVE: 29,
    _POINT14: 30,
    _RGB14: 6,
    _RGBN14: 8,
    _WAVE14: 29,
}
_VERSIONS = {1: (1, 2), 2: (1, 2), 3: (3, 4)}
"""Item versions each compressor writes; lazrs reads those below 4, LASzip all."""

_ITEMS = {
    0: (_POINT10,),
    1: (_POINT10, _GPS),
    2: (_POINT10, _RGB),
    3: (_POINT10, _GPS, _RGB),
    4: (_POINT10, _GPS, _WAVE),
    5: (_POINT10, _GPS, _RGB, _WAVE),
    6: (_POINT14,),
    7: (_POINT14, _RGB14),
    8: (_POINT14, _RGBN14),
    9: (_POINT14, _WAVE14),
    10: (_POINT14, _RGBN14, _WAVE14),
}


@dataclass(frozen=True)
class Compression:
    """The content of the LASzip record, checked against the header."""

    compressor: int
    chunk_size: int
    items: tuple[tuple[int, int, int], ...]

    @property
    def item_version(self) -> int:
        """The newest version among the items."""
        return max(version for _, _, version in self.items)

    @property
    def variable(self) -> bool:
        """Whether chunks hold different numbers of points, as those of COPC do."""
        return self.chunk_size == _VARIABLE

    @property
    def layered(self) -> bool:
        """Whether chunks hold one layer per attribute instead of interleaved points."""
        return self.compressor == 3

    @property
    def layer_count(self) -> int:
        """Layers of a layered chunk: nine of the point, then colour, infrared, waves, bytes."""
        counts = {_POINT14: 9, _RGB14: 1, _RGBN14: 2, _WAVE14: 1}
        return sum(counts.get(kind, size) for kind, size, _ in self.items)


def read_compression(source: Source, header: Header, vlrs: tuple[Vlr, ...]) -> Compression:
    """Read the LASzip record and compare it with the point format.

    Raises:
        TaskFailed: missing, damaged, unknown or contradicting.
    """
    found = [vlr for vlr in vlrs if (vlr.user_id, vlr.record_id) == RECORD]
    if not found:
        raise refusal("laszip_vlr_missing", "The file has no record `laszip encoded` 22204.")
    contents = {source.at(vlr.offset, vlr.length) for vlr in found}
    if len(contents) > 1:
        raise refusal("laszip_vlr_damaged", f"There are {len(found)} LASzip records that differ.")
    compression = _parse(contents.pop())
    _check_compressor(compression)
    _check_items(compression, header)
    return compression


def _parse(content: bytes) -> Compression:
    if len(content) < _FIXED.size:
        raise refusal(
            "laszip_vlr_damaged", f"The LASzip record has {len(content)} bytes; 34 are the least."
        )
    compressor, coder, _, _, _, _, chunk_size, _, _, count = _FIXED.unpack_from(content)
    if count == 0 or len(content) < _FIXED.size + count * _ITEM.size:
        raise refusal(
            "laszip_vlr_damaged",
            f"The LASzip record announces {count} items in {len(content)} bytes.",
        )
    if compressor not in _VERSIONS or coder != 0:
        raise refusal(
            "laz_compressor_unsupported",
            f"The LASzip record names compressor {compressor} and coder {coder}.",
        )
    if compressor != 1 and chunk_size == 0:
        raise refusal("laszip_vlr_damaged", "The LASzip record says that a chunk holds 0 points.")
    items = _ITEM.iter_unpack(content[_FIXED.size : _FIXED.size + count * _ITEM.size])
    return Compression(compressor, chunk_size, tuple((a, b, c) for a, b, c in items))


def _check_compressor(compression: Compression) -> None:
    for kind, _, version in compression.items:
        layered = kind in {_POINT14, _RGB14, _RGBN14, _WAVE14, _BYTES14}
        known = layered or kind in {_BYTES, _POINT10, _GPS, _RGB, _WAVE}
        # Decoders trust this pairing: a wrong one made LASzip read through a wild pointer.
        if not known or layered != compression.layered:
            raise refusal(
                "laz_items_mismatch",
                f"Compressor {compression.compressor} cannot hold items of type {kind}.",
            )
        if version not in _VERSIONS[compression.compressor]:
            raise refusal("laz_compressor_unsupported", f"Item type {kind} has version {version}.")


def _check_items(compression: Compression, header: Header) -> None:
    expected = [(kind, _SIZES[kind]) for kind in _ITEMS[header.point_format]]
    if header.extra_bytes:
        kind = _BYTES14 if header.point_format >= 6 else _BYTES
        expected.append((kind, header.extra_bytes))
    found = [(kind, size) for kind, size, _ in compression.items]
    if found != expected:
        raise refusal(
            "laz_items_mismatch",
            f"Point format {header.point_format} with {header.record_length} bytes consists of "
            f"{_text(expected)}; the record says {_text(found)}.",
        )


def _text(items: list[tuple[int, int]]) -> str:
    return " + ".join(f"item {kind} of {size} bytes" for kind, size in items[:8])

"""What a file does wrong or unusually and can be read all the same."""

import struct
from collections.abc import Iterator

from shared.preflight.crs import crs_oddities
from shared.preflight.header import HEADER_SIZES, Header
from shared.preflight.laszip import RECORD, Compression
from shared.preflight.model import Oddity, Vlr
from shared.preflight.reading import Reading
from shared.preflight.refusals import refusal
from shared.preflight.source import Source

_ORDINARY_CHUNK = 1 << 24  # 50 000 is usual
_DESCRIPTOR = 192  # bytes per dimension in the extra-bytes record
_TYPE_SIZES = (0, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8)


def find_oddities(source: Source, reading: Reading) -> tuple[Oddity, ...]:
    """All oddities that the header and the records show, in a fixed order.

    Raises:
        TaskFailed: point_format_doubtful, where oddities together show a false point format.
    """
    header = reading.header
    found = (
        *_header_oddities(header),
        *_bounds_oddities(header),
        *_extra_bytes_oddities(source, header, reading.records),
        *crs_oddities(header, reading.crs),
        *_copc_oddities(source, reading),
        *_layout_oddities(reading),
    )
    _check_format_is_plausible(header, {oddity.code for oddity in found})
    return found


def _header_oddities(header: Header) -> Iterator[Oddity]:
    least = HEADER_SIZES[header.version[1]]
    if header.header_size != least:
        yield Oddity(
            "header_size_unusual",
            f"The header has {header.header_size} bytes; LAS 1.{header.version[1]} has {least}.",
        )
    if header.point_count == 0:
        yield Oddity("no_points", "The file holds no points.")
    if header.version >= (1, 4) and header.legacy_count not in (0, header.long_count):
        yield Oddity(
            "legacy_count_mismatch",
            f"The 32-bit count says {header.legacy_count} points, the 64-bit count "
            f"{header.long_count}; taken are {header.point_count}.",
        )
    if (
        header.version >= (1, 4)
        and header.point_format < 6
        and header.legacy_count == 0 < header.point_count < 1 << 32
    ):
        yield Oddity(
            "legacy_count_missing",
            "The 32-bit point count is 0; older readers will see an empty file.",
        )
    if header.version < (1, 2) and header.point_format in (2, 3):
        yield Oddity(
            "point_format_newer_than_version",
            f"Point format {header.point_format} came with LAS 1.2.",
        )
    if header.version < (1, 3) and header.point_format in (4, 5):
        yield Oddity(
            "point_format_newer_than_version",
            f"Point format {header.point_format} came with LAS 1.3.",
        )
    if header.point_format in (4, 5, 9, 10):
        where = "in a file beside it (.wdp)" if header.global_encoding & 4 else "in the file"
        yield Oddity("waveforms", f"The points refer to waveforms, said to lie {where}.")


def _bounds_oddities(header: Header) -> Iterator[Oddity]:
    if header.point_count == 0:
        return
    if not any(header.mins) and not any(header.maxs):
        yield Oddity("bounds_zero", "The bounding box in the header is all zeros.")
        return
    outside = [
        axis
        for axis, low, high, scale, offset in zip(
            "XYZ", header.mins, header.maxs, header.scales, header.offsets, strict=True
        )
        # What 32-bit integers can express, with a step of tolerance.
        if abs((low + high) / 2 - offset) > scale * (2**31 + 1) + (high - low) / 2
    ]
    if outside:
        yield Oddity(
            "bounds_wrong",
            f"No point of this scale and offset can lie within the bounds of {', '.join(outside)}.",
        )


def _extra_bytes_oddities(
    source: Source, header: Header, records: tuple[Vlr, ...]
) -> Iterator[Oddity]:
    described, names = 0, []
    # The first record counts, as it does for readers; any number of others would cost the budget.
    for record in [one for one in records if (one.user_id, one.record_id) == ("LASF_Spec", 4)][:1]:
        content = source.at(record.offset, min(record.length, 64 << 10))
        for at in range(0, len(content) - _DESCRIPTOR + 1, _DESCRIPTOR):
            kind, options = content[at + 2], content[at + 3]
            names.append(content[at + 4 : at + 36].split(b"\0", 1)[0])
            # 11 to 30 are two and three values of the types 1 to 10, since deprecated.
            known = 1 <= kind <= 30
            size = _TYPE_SIZES[(kind - 1) % 10 + 1] * ((kind - 1) // 10 + 1) if known else options
            described += size
    if described < header.extra_bytes:
        yield Oddity(
            "extra_bytes_undescribed",
            f"Points have {header.extra_bytes} extra bytes; records describe {described} of them.",
        )
    if described > header.extra_bytes:
        yield Oddity(
            "extra_bytes_overdescribed",
            f"Points have {header.extra_bytes} extra bytes; records describe {described}.",
        )
    if len(set(names)) < len(names):
        yield Oddity("extra_bytes_duplicate_name", "Two extra dimensions have the same name.")


def _copc_oddities(source: Source, reading: Reading) -> Iterator[Oddity]:
    info = reading.copc_info
    if info is None:
        if any(vlr.user_id == "copc" for vlr in reading.vlrs):
            yield Oddity("copc_malformed", "The file calls itself a COPC but is not shaped so.")
        return
    content = source.at(info.offset, info.length).ljust(info.length, b"\0")
    place, length = struct.unpack_from("<QQ", content, 40)
    if length % 32 or not reading.header.point_offset <= place <= place + length <= source.size:
        yield Oddity(
            "copc_hierarchy_damaged",
            "The octree of the COPC lies outside the file; the points are read without it.",
        )


def _layout_oddities(reading: Reading) -> Iterator[Oddity]:
    names = {(vlr.user_id, vlr.record_id) for vlr in reading.vlrs}
    if reading.unclaimed:
        yield Oddity(
            "trailing_bytes", f"{reading.unclaimed} bytes after the points belong to nothing."
        )
    if reading.compression is None and RECORD in names:
        yield Oddity("laszip_vlr_stray", "The file says how it is compressed, and is not.")
    if "lascompatible" in {user for user, _ in names}:
        yield Oddity(
            "laz_compatibility_mode",
            "Points of a newer format are disguised as an older one with extra bytes.",
        )
    if reading.table is not None and not reading.table.complete:
        yield Oddity(
            "chunk_table_incomplete",
            "The table of compressed chunks is missing or short; points are read one by one.",
        )
    if reading.compression is not None:
        yield from _compression_oddities(reading.compression)


def _compression_oddities(compression: Compression) -> Iterator[Oddity]:
    if compression.item_version >= 4:
        yield Oddity("laz_item_version_4", "The points are compressed by LASzip's newest items.")
    if compression.chunk_size > _ORDINARY_CHUNK and not compression.variable:
        yield Oddity(
            "chunk_size_unusual",
            f"Chunks may hold {compression.chunk_size} points; readers that set memory aside for a "
            "whole chunk will fail.",
        )


def _check_format_is_plausible(header: Header, codes: set[str]) -> None:
    """Refuse a format below 6 in a file whose counts are written as for those from 6 on.

    Each alone is a known oddity; together with bytes nobody describes, fields would be read from
    the wrong places without any error.
    """
    if {"legacy_count_missing", "extra_bytes_undescribed"} <= codes:
        raise refusal(
            "point_format_doubtful",
            f"The header says point format {header.point_format}, but records have "
            f"{header.extra_bytes} bytes more and the counts are those of formats 6 to 10.",
        )

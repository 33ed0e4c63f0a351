"""The public header block: its fields, and the lies that make a file unreadable."""

import math
import struct
from dataclasses import dataclass
from datetime import date, timedelta

from shared.preflight.model import Triple
from shared.preflight.refusals import refusal
from shared.preflight.source import Source

_BLOCK = struct.Struct("<4sHH16sBB32s32sHHHIIBHI5I3d3d6d")  # 227 bytes, the same in every version
_LONG_COUNTS = struct.Struct("<QIQ15Q")  # from byte 235, since LAS 1.4
HEADER_SIZES = {0: 227, 1: 227, 2: 227, 3: 235, 4: 375, 5: 393}
"""Least header size per minor version of LAS 1; a longer one is legal."""

RECORD_LENGTHS = {0: 20, 1: 28, 2: 26, 3: 34, 4: 57, 5: 63, 6: 30, 7: 36, 8: 38, 9: 59, 10: 67}
"""Bytes per point of each point format, without extra bytes."""

_COMPRESSED = 0x80
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-15, 1e9
_LARGEST_OFFSET = 1e12  # seven times the way to the sun in metres


@dataclass(frozen=True)
class Header:
    """The header's fields, converted but not yet trusted."""

    version: tuple[int, int]
    header_size: int
    point_offset: int
    vlr_count: int
    evlr_offset: int
    evlr_count: int
    waveform_offset: int
    point_format: int
    compressed: bool
    record_length: int
    long_count: int
    legacy_count: int
    points_by_return: tuple[int, ...]
    global_encoding: int
    scales: Triple
    offsets: Triple
    mins: Triple
    maxs: Triple
    system_identifier: str
    generating_software: str
    created: date | None

    @property
    def point_count(self) -> int:
        """The 64-bit count where there is one; some writers fill in the old one alone."""
        return self.long_count or self.legacy_count

    @property
    def extra_bytes(self) -> int:
        """Bytes per point beyond those of the point format."""
        return self.record_length - RECORD_LENGTHS[self.point_format]

    @property
    def points_end(self) -> int:
        """Byte after the last point of an uncompressed file."""
        return self.point_offset + self.point_count * self.record_length


def read_header(source: Source) -> Header:
    """Read the header and refuse what no reader could make sense of.

    Raises:
        TaskFailed: not a point cloud, cut off, or a field with an impossible value.
    """
    head = source.at(0, HEADER_SIZES[5])
    _check_signature(head)
    if len(head) < _BLOCK.size:
        raise refusal(
            "truncated_header", f"The file has {len(head)} bytes; a LAS header has 227 or more."
        )
    version = (head[24], head[25])
    if version[0] != 1 or version[1] not in HEADER_SIZES:
        raise refusal("unsupported_version", f"The header says LAS {version[0]}.{version[1]}.")
    header = _parse(head, version)
    _check_sizes(header, source.size)
    _check_format(header)
    _check_coordinates(header)
    return header


def _check_signature(head: bytes) -> None:
    if not head:
        raise refusal("empty_file", "The file has 0 bytes.")
    if head[:4] == b"LASF":
        return
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"version https://git-lfs"):
        raise refusal("git_lfs_pointer", f"The file has {len(head)} bytes and points elsewhere.")
    if start[:2].upper() in (b"~V", b"~W", b"~C") or b"\n~V" in head.upper():
        raise refusal("well_log_file", "The file begins like a CWLS well log.")
    raise refusal(
        "not_a_las_file", f"A point cloud begins with LASF, this file with {_name(head)}."
    )


def _name(head: bytes) -> str:
    """What a file seems to be by its first bytes, for people."""
    known = {
        b"\x89PNG": "a PNG picture",
        b"\xff\xd8\xff": "a JPEG picture",
        b"PK\x03\x04": "a ZIP archive",
        b"\x1f\x8b": "a gzip archive",
        b"7z\xbc\xaf": "a 7-Zip archive",
        b"ASTM-E57": "an E57 scan",
        b"ply": "a PLY mesh or cloud",
        b"# .PCD": "a PCD cloud",
        b"%PDF": "a PDF document",
        b"II*\0": "a TIFF picture",
        b"MM\0*": "a TIFF picture",
        b"<": "a web page or XML",
        b"{": "JSON",
    }
    for start, name in known.items():
        if head.startswith(start):
            return name
    return f"the bytes {head[:4].hex(' ')}"


def _parse(head: bytes, version: tuple[int, int]) -> Header:
    fields = _BLOCK.unpack_from(head)
    legacy_count, by_return = fields[15], list(fields[16:21])
    evlr_offset, evlr_count, count, waveforms = 0, 0, 0, 0
    if version >= (1, 3) and len(head) >= HEADER_SIZES[3]:
        (waveforms,) = struct.unpack_from("<Q", head, 227)
    if version >= (1, 4) and len(head) >= HEADER_SIZES[4]:
        evlr_offset, evlr_count, count, *long_by_return = _LONG_COUNTS.unpack_from(head, 235)
        by_return = long_by_return if any(long_by_return) else by_return
    bounds = fields[27:33]  # max x, min x, max y, min y, max z, min z
    return Header(
        version=version,
        header_size=fields[10],
        point_offset=fields[11],
        vlr_count=fields[12],
        evlr_offset=evlr_offset,
        evlr_count=evlr_count,
        waveform_offset=waveforms,
        point_format=fields[13] & ~_COMPRESSED,
        compressed=bool(fields[13] & _COMPRESSED),
        record_length=fields[14],
        long_count=count,
        legacy_count=legacy_count,
        points_by_return=tuple(by_return),
        global_encoding=fields[2],
        scales=fields[21:24],
        offsets=fields[24:27],
        mins=bounds[1::2],
        maxs=bounds[0::2],
        system_identifier=printable(fields[6]),
        generating_software=printable(fields[7]),
        created=_date(fields[8], fields[9]),
    )


def printable(raw: bytes) -> str:
    """Text of a fixed field up to its first NUL, fit for a database, a log and a terminal."""
    text = raw.split(b"\0", 1)[0].decode("latin-1")
    return "".join(char if char.isprintable() else "?" for char in text).strip()


def _date(day: int, year: int) -> date | None:
    if not 1970 <= year <= 9999 or not 1 <= day <= 366:
        return None
    try:
        return date(year, 1, 1) + timedelta(days=day - 1)
    except OverflowError:
        return None


def _check_sizes(header: Header, size: int) -> None:
    least = HEADER_SIZES[header.version[1]]
    named = f"LAS 1.{header.version[1]}"
    if header.header_size < least:
        raise refusal(
            "header_size_wrong",
            f"The header says it has {header.header_size} bytes; {named} needs {least}.",
        )
    if header.header_size > size:
        raise refusal(
            "truncated_header",
            f"The header says it has {header.header_size} bytes; the file has {size}.",
        )
    if not header.header_size <= header.point_offset <= size:
        raise refusal(
            "point_offset_wrong",
            f"The points should start at byte {header.point_offset}; "
            f"the header ends at {header.header_size} and the file at {size}.",
        )


def _check_format(header: Header) -> None:
    if header.point_format not in RECORD_LENGTHS:
        raise refusal("point_format_unsupported", f"The header says format {header.point_format}.")
    if header.point_format >= 6 and header.version < (1, 4):
        raise refusal(
            "point_format_too_new",
            f"The header says LAS 1.{header.version[1]} with point format {header.point_format}.",
        )
    if header.extra_bytes < 0:
        raise refusal(
            "record_length_wrong",
            f"The header says {header.record_length} bytes per point; point format "
            f"{header.point_format} needs {RECORD_LENGTHS[header.point_format]}.",
        )


def _check_coordinates(header: Header) -> None:
    for axis, scale, offset in zip("XYZ", header.scales, header.offsets, strict=True):
        # NaN fails every comparison, so the tests are written to pass only good values.
        if not _SMALLEST_SCALE <= scale <= _LARGEST_SCALE:
            raise refusal("bad_scale", f"The scale of {axis} is {scale!r}.")
        if not -_LARGEST_OFFSET <= offset <= _LARGEST_OFFSET:
            raise refusal("bad_offset", f"The offset of {axis} is {offset!r}.")
    if header.point_count == 0:
        return  # Writers of empty files leave ±infinity or the largest doubles swapped; harmless.
    for axis, low, high in zip("XYZ", header.mins, header.maxs, strict=True):
        if not (math.isfinite(low) and math.isfinite(high)):
            raise refusal("bad_bounds", f"{axis} is said to lie between {low!r} and {high!r}.")
        if low > high:
            raise refusal(
                "bad_bounds", f"The least {axis}, {low!r}, is above the largest, {high!r}."
            )

"""What the engine needs to know from a LAS or LAZ file's header and records, as it is written there.

Whether a header can be trusted is the preflight's question; this module only follows it and stops
where it leads out of the file.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.processor.pointcloud.failures import header_unusable
from services.processor.pointcloud.las.records import base_length

_LONGEST_WKT_OR_KEYS = 1 << 24
_COMPRESSED_BITS = 0xC0
_MOST_EXTENDED = 1 << 16


@dataclass(frozen=True)
class Carried:
    """A variable length record of the source (VLR or EVLR): where its payload lies in the file."""

    user_id: str
    record_id: int
    description: bytes
    offset: int
    length: int
    extended: bool

    def payload(self, path: Path) -> bytes:
        """The payload; for the records that the engine reads, which are small."""
        if self.length > _LONGEST_WKT_OR_KEYS:
            raise header_unusable(
                f"The record {self.user_id} {self.record_id} claims {self.length} bytes."
            )
        with path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


@dataclass(frozen=True)
class Source:
    """A LAS or LAZ file. Coordinates are `int * scale + offset`; `mins`, `maxs` are the header's.

    `extended_at` and `extended_stated` say where the extended records begin, and how many there
    should be; `origin` is the damaged file that this one was rescued from.
    """

    path: Path
    size: int
    version: tuple[int, int]
    point_format: int
    record_length: int
    point_count: int
    compressed: bool
    points_offset: int
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    mins: tuple[float, float, float]
    maxs: tuple[float, float, float]
    file_source_id: int
    global_encoding: int
    project_id: bytes
    system_id: bytes
    software: str
    creation_day: int
    creation_year: int
    returns_in_header: tuple[int, ...]
    carried: tuple[Carried, ...]
    extended_at: int
    extended_stated: int
    origin: "Source | None" = None

    @property
    def sent(self) -> "Source":
        """The file as somebody sent it."""
        return self.origin or self

    @property
    def extra_bytes(self) -> int:
        """Bytes of a record behind those that its point format defines."""
        return self.record_length - base_length(self.point_format)

    def find(self, user_id: str, record_id: int) -> Carried | None:
        """The first record of this name, VLRs before EVLRs."""
        for record in self.carried:
            if record.record_id == record_id and record.user_id.lower() == user_id.lower():
                return record
        return None


def read_source(path: Path) -> Source:
    """Follow the header of the file at `path`. Raises TaskFailed `header_unusable`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(375)
        if len(head) < 227 or head[:4] != b"LASF":
            raise header_unusable("The file does not begin with a LAS header.")
        return _parse(path, size, head.ljust(375, b"\0"), file)


def _parse(path: Path, size: int, head: bytes, file: BinaryIO) -> Source:
    version = (head[24], head[25])
    header_size, points_offset, vlr_count = struct.unpack_from("<HII", head, 94)
    format_byte = head[104]
    point_format = format_byte & ~_COMPRESSED_BITS
    record_length, legacy_count = struct.unpack_from("<HI", head, 105)
    if point_format > 10 or record_length < base_length(point_format):
        raise header_unusable(
            f"Point format {point_format} with records of {record_length} bytes does not exist."
        )
    scales_offsets = struct.unpack_from("<6d", head, 131)
    max_x, min_x, max_y, min_y, max_z, min_z = struct.unpack_from("<6d", head, 179)
    evlrs_at, evlr_count, count = 0, 0, legacy_count
    returns: tuple[int, ...] = struct.unpack_from("<5I", head, 111)
    if version >= (1, 4) and header_size >= 375:
        evlrs_at, evlr_count, long_count = struct.unpack_from("<QIQ", head, 235)
        count = long_count or legacy_count
        returns = struct.unpack_from("<15Q", head, 255) if long_count else returns
    if evlr_count > _MOST_EXTENDED:
        raise header_unusable(f"The header counts {evlr_count} extended records.")
    carried = _walk(file, header_size, vlr_count, points_offset, extended=False)
    carried += _walk(file, evlrs_at, evlr_count, size, extended=True)
    day, year = struct.unpack_from("<HH", head, 90)
    return Source(
        path=path,
        size=size,
        version=version,
        point_format=point_format,
        record_length=record_length,
        point_count=count,
        compressed=bool(format_byte & _COMPRESSED_BITS),
        points_offset=points_offset,
        scales=scales_offsets[:3],
        offsets=scales_offsets[3:],
        mins=(min_x, min_y, min_z),
        maxs=(max_x, max_y, max_z),
        file_source_id=struct.unpack_from("<H", head, 4)[0],
        global_encoding=struct.unpack_from("<H", head, 6)[0],
        project_id=head[8:24],
        system_id=head[26:58],
        software=head[58:90].split(b"\0")[0].decode("latin-1"),
        creation_day=day,
        creation_year=year,
        returns_in_header=returns,
        carried=tuple(carried),
        extended_at=evlrs_at,
        extended_stated=evlr_count,
    )


def _walk(file: BinaryIO, start: int, count: int, end: int, *, extended: bool) -> list[Carried]:
    """The records from `start`; those that would reach over `end` are left out."""
    shape = struct.Struct("<H16sHQ32s" if extended else "<H16sHH32s")
    found: list[Carried] = []
    position = start
    while len(found) < count and position + shape.size <= end:
        file.seek(position)
        head = file.read(shape.size)
        if len(head) < shape.size:
            break
        _, user_id, record_id, length, description = shape.unpack(head)
        payload_at = position + shape.size
        if payload_at + length > end:
            break
        name = user_id.split(b"\0")[0].decode("latin-1")
        found.append(Carried(name, record_id, description, payload_at, length, extended))
        position = payload_at + length
    return found

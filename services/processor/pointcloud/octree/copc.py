"""The COPC file: a LAS 1.4 header, its records, the chunks of all nodes, and where each node lies.

Layout: header (375 bytes), VLRs (the `copc` info record first, as COPC demands), chunks, chunk
table, EVLRs (the hierarchy first).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.processor.pointcloud.failures import writing_failed
from services.processor.pointcloud.las.extra import for_strict_readers
from services.processor.pointcloud.las.source import Carried, Source
from services.processor.pointcloud.octree.chunks import Chunk, chunk_table
from services.processor.pointcloud.octree.grids import GRID_LEVELS
from services.processor.pointcloud.octree.hierarchy import hierarchy
from services.processor.pointcloud.octree.morton import Cube, Key

HEADER_SIZE = 375
_INFO_SIZE = 160
_EVLR_HEAD = 60
_KEPT_ENCODING = 0b1001
"""GPS time type and synthetic return numbers; the waveform bits go, the WKT bit is set."""

_WKT_BIT = 0x10
_LONGEST_VLR = 0xFFFF
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Product:
    """All that a COPC file says besides its points.

    Attributes:
        source: whose identity (system, software, dates, ids) the product keeps.
        point_format: 6, 7 or 8.
        record_length: bytes of a record, extra bytes included.
        points: how many points there are.
        by_return: how many there are of each return number from 1 to 15.
        mins, maxs: true bounds in coordinates.
        gps_range: smallest and largest GPS time.
        cube: the octree's cube.
        laz_record: the payload of the `laszip encoded` record.
        wkt: the coordinate system, if it is known.
        carried: the source's records that the product keeps.
    """

    source: Source
    point_format: int
    record_length: int
    points: int
    by_return: Sequence[int]
    mins: tuple[float, float, float]
    maxs: tuple[float, float, float]
    gps_range: tuple[float, float]
    cube: Cube
    laz_record: bytes
    wkt: str | None
    carried: tuple[Carried, ...]


def write_copc(
    path: Path, product: Product, nodes: Sequence[tuple[Key, Chunk]], scratch: Path
) -> None:
    """Write the file at `path`. `nodes` are in the order in which they will lie in it."""
    try:
        with path.open("wb", buffering=_COPY_BYTES) as file:
            _write(file, product, nodes, scratch)
    except OSError as error:
        raise writing_failed(error) from error


def _write(
    file: BinaryIO, product: Product, nodes: Sequence[tuple[Key, Chunk]], scratch: Path
) -> None:
    vlrs, evlrs = _plain_records(product)
    points_at = HEADER_SIZE + sum(len(record) for record in vlrs)
    # Header and info are written last, when everything has its place.
    file.write(b"\0" * points_at + struct.pack("<q", -1))
    offsets = _copy_chunks(file, nodes, scratch)
    table_at = file.tell()
    file.write(chunk_table([(chunk.points, chunk.size) for _, chunk in nodes], product.laz_record))
    evlrs_at = file.tell()
    pages_at = evlrs_at + _EVLR_HEAD
    pages, root_size = hierarchy(nodes, offsets, pages_at)
    file.write(_evlr_head("copc", 1000, len(pages), b"EPT hierarchy"))
    file.write(pages)
    for head, carried in evlrs:
        file.write(head)
        if isinstance(carried, bytes):
            file.write(carried)
        else:
            _copy_range(product.source.path, carried.offset, carried.length, file)
    file.seek(points_at)
    file.write(struct.pack("<q", table_at))
    file.seek(0)
    file.write(_header(product, points_at, len(vlrs), evlrs_at, 1 + len(evlrs)))
    vlrs[0] = _vlr("copc", 1, _info(product, pages_at, root_size), b"COPC info VLR")
    file.writelines(vlrs)


def _plain_records(product: Product) -> tuple[list[bytes], list[tuple[bytes, bytes | Carried]]]:
    """The VLRs, the first one a place-holder for the info, and the EVLRs behind the hierarchy."""
    vlrs = [
        _vlr("copc", 1, bytes(_INFO_SIZE), b"COPC info VLR"),
        _vlr("laszip encoded", 22204, product.laz_record, b"laz variant"),
    ]
    evlrs: list[tuple[bytes, bytes | Carried]] = []
    if product.wkt is not None:
        text = product.wkt.encode() + b"\0"
        if len(text) <= _LONGEST_VLR:
            vlrs.append(_vlr("LASF_Projection", 2112, text, b"OGC coordinate system WKT"))
        else:
            head = _evlr_head("LASF_Projection", 2112, len(text), b"OGC coordinate system WKT")
            evlrs.append((head, text))
    for record in product.carried:
        description = record.description
        if record.extended:
            head = _evlr_head(record.user_id, record.record_id, record.length, description)
            evlrs.append((head, record))
        else:
            payload = record.payload(product.source.path)
            if (record.user_id, record.record_id) == ("LASF_Spec", 4):
                payload = for_strict_readers(payload)
            vlrs.append(_vlr(record.user_id, record.record_id, payload, description))
    return vlrs, evlrs


def _vlr(user_id: str, record_id: int, payload: bytes, description: bytes) -> bytes:
    name = plain_name(user_id)
    return struct.pack("<H16sHH32s", 0, name, record_id, len(payload), description) + payload


def _evlr_head(user_id: str, record_id: int, length: int, description: bytes) -> bytes:
    return struct.pack("<H16sHQ32s", 0, plain_name(user_id), record_id, length, description)


def plain_name(user_id: str) -> bytes:
    """A record's user id in ASCII, as LAS wants it: readers refuse a file with any other byte."""
    return user_id.encode("ascii", "replace")


def _copy_chunks(file: BinaryIO, nodes: Sequence[tuple[Key, Chunk]], scratch: Path) -> list[int]:
    """Copy every node's chunk and say where each one begins."""
    segments = {chunk.segment for _, chunk in nodes}
    opened = {name: (scratch / name).open("rb") for name in sorted(segments)}
    offsets = []
    try:
        for _, chunk in nodes:
            offsets.append(file.tell())
            segment = opened[chunk.segment]
            segment.seek(chunk.offset)
            left = chunk.size
            while left:
                piece = segment.read(min(left, _COPY_BYTES))
                if not piece:
                    raise EOFError(f"the segment {chunk.segment} is shorter than its index")
                file.write(piece)
                left -= len(piece)
    finally:
        for segment in opened.values():
            segment.close()
    return offsets


def _copy_range(path: Path, offset: int, length: int, file: BinaryIO) -> None:
    with path.open("rb") as source:
        source.seek(offset)
        while length:
            piece = source.read(min(length, _COPY_BYTES))
            if not piece:
                raise EOFError("an extended record reaches over the end of the file")
            file.write(piece)
            length -= len(piece)


def _info(product: Product, page_at: int, page_size: int) -> bytes:
    half = product.cube.side / 2
    center = [corner + half for corner in product.cube.corner]
    spacing = product.cube.side / (1 << GRID_LEVELS)
    return struct.pack("<5dQQ2d88x", *center, half, spacing, page_at, page_size, *product.gps_range)


def _header(
    product: Product, points_at: int, vlr_count: int, evlrs_at: int, evlr_count: int
) -> bytes:
    source = product.source
    bounds = [value for axis in zip(product.maxs, product.mins, strict=True) for value in axis]
    return struct.pack(
        "<4sHH16sBB32s32sHHHIIBHI5I3d3d6dQQIQ15Q",
        b"LASF",
        source.file_source_id,
        source.global_encoding & _KEPT_ENCODING | _WKT_BIT,
        source.project_id,
        1,
        4,
        source.system_id,
        b"Pointmill",
        source.creation_day,
        source.creation_year,
        HEADER_SIZE,
        points_at,
        vlr_count,
        product.point_format | 0x80,
        product.record_length,
        0,  # the counts of LAS 1.3 and before stay 0 for formats 6 and above
        *(0,) * 5,
        *source.scales,
        *source.offsets,
        *bounds,
        0,  # no waveform packets
        evlrs_at,
        evlr_count,
        product.points,
        *product.by_return,
    )

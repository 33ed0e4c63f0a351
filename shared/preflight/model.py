"""What an inspection hands out."""

from dataclasses import dataclass
from datetime import date

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Vlr:
    """A variable length record or, past the points, an extended one.

    Attributes:
        user_id: who defined the record, e.g. `LASF_Projection`.
        record_id: which of that user's records it is.
        offset: byte in the file where the content starts.
        length: bytes of content.
        description: free text.
    """

    user_id: str
    record_id: int
    offset: int
    length: int
    description: str


@dataclass(frozen=True)
class Oddity:
    """Something a file does wrong or unusually, and can be read all the same."""

    code: str
    message: str


@dataclass(frozen=True)
class Laszip:
    """How the points are compressed.

    Attributes:
        compressor: 1 one stream, 2 chunks of interleaved points, 3 chunks of layers.
        chunk_size: points per chunk, None where chunks vary (or there is one stream).
        chunk_count: chunks in the table, None where there is no table to trust.
        item_version: the newest version of the items.
    """

    compressor: int
    chunk_size: int | None
    chunk_count: int | None
    item_version: int


@dataclass(frozen=True)
class StatedCrs:
    """What a file says of its coordinate system, in its own words; nobody has looked it up.

    Attributes:
        origin: `wkt` or `geotiff`, the kind of record that says it.
        name: what it is called there.
        epsg: the code of the horizontal system.
        vertical_name, vertical_epsg: those of the heights, None where they are not named.
        geographic: whether x and y are said to be degrees.
    """

    origin: str
    name: str | None
    epsg: int | None
    vertical_name: str | None
    vertical_epsg: int | None
    geographic: bool


@dataclass(frozen=True)
class Preflight:
    """What the header of a usable LAS, LAZ or COPC file says.

    Attributes:
        version: (1, 0) to (1, 5).
        point_format: 0 to 10, without the bit that says compressed.
        record_length: bytes per uncompressed point.
        point_count: the count that holds for this version.
        file_bytes: size of the file.
        laszip: how points are compressed, None for LAS.
        needs_laszip: lazrs cannot read these points, or not safely; the LASzip library can.
        copc: the file says that it is a cloud-optimized one, and its header is shaped like one.
        point_offset: byte where the points start.
        global_encoding: the bit field; bit 0 GPS time, bit 4 WKT.
        scales, offsets, mins, maxs: per axis; mins and maxs as claimed, possibly wrong.
        points_by_return: as claimed: 5, or 15 from LAS 1.4 on.
        extra_bytes: bytes per point beyond those of the point format.
        created: the date in the header, None where it is none.
        crs: the coordinate system as the file states it, None where it does not.
        warnings: what is odd about the file.
    """

    version: tuple[int, int]
    point_format: int
    record_length: int
    point_count: int
    file_bytes: int
    laszip: Laszip | None
    needs_laszip: bool
    copc: bool
    point_offset: int
    header_size: int
    global_encoding: int
    scales: Triple
    offsets: Triple
    mins: Triple
    maxs: Triple
    points_by_return: tuple[int, ...]
    vlrs: tuple[Vlr, ...]
    evlrs: tuple[Vlr, ...]
    extra_bytes: int
    system_identifier: str
    generating_software: str
    created: date | None
    crs: StatedCrs | None
    warnings: tuple[Oddity, ...]

    @property
    def compressed(self) -> bool:
        """Whether the points are LAZ."""
        return self.laszip is not None

    @property
    def wkt_bit(self) -> bool:
        """Whether the header says that the CRS is WKT."""
        return bool(self.global_encoding & 0x10)

"""All that was read of one file, before it is judged odd and handed out."""

from dataclasses import dataclass

from shared.preflight.chunks import ChunkTable
from shared.preflight.header import Header
from shared.preflight.laszip import Compression
from shared.preflight.model import StatedCrs, Vlr


@dataclass(frozen=True)
class Reading:
    """Header, records and what is known about the points.

    Attributes:
        compression, table: how the points are compressed; None for uncompressed ones.
        unclaimed: bytes behind uncompressed points that belong to nothing.
        crs: the coordinate system that the records state.
    """

    header: Header
    vlrs: tuple[Vlr, ...]
    evlrs: tuple[Vlr, ...]
    compression: Compression | None
    table: ChunkTable | None
    unclaimed: int
    crs: StatedCrs | None

    @property
    def records(self) -> tuple[Vlr, ...]:
        """Records before and behind the points."""
        return self.vlrs + self.evlrs

    @property
    def copc_info(self) -> Vlr | None:
        """The record that makes a file a COPC, if it is where the format wants it."""
        first = self.vlrs[0] if self.vlrs else None
        if (
            first is not None
            and (first.user_id, first.record_id) == ("copc", 1)
            and (self.header.header_size, first.length) == (375, 160)
            and self.header.point_format in (6, 7, 8)
        ):
            return first
        return None

    @property
    def needs_laszip(self) -> bool:
        """Whether lazrs must not be given these points."""
        if self.compression is None or self.table is None:
            return False
        # lazrs knows items up to version 3, and aborts or panics without a sound chunk table.
        newest = self.compression.item_version
        return newest >= 4 or not self.table.complete or self.compression.compressor == 1

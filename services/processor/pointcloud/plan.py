"""What every process needs to know to work on its part of a cloud: one immutable, picklable plan."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.processor.pointcloud.las.conversion import target_format
from services.processor.pointcloud.las.decoder import Decoder
from services.processor.pointcloud.las.extra import ExtraDimension
from services.processor.pointcloud.las.records import record_dtype
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.octree.grids import GridKind
from services.processor.pointcloud.octree.morton import Cube

LEAF_POINTS = 50_000
"""Subtrees of at most this many points are one node; also the usual size of a LAZ chunk."""

LEAST_POINTS = 100
"""Leaves of fewer points are not worth a chunk: their points are shown by the node above."""

_CELL_BYTES = 36 << 20
_LEAST_BATCH_BYTES = 4 << 20
_LEADER_BYTES = 96 << 20
_MEMBER_BYTES = 160 << 20
"""What the process that leads holds, and each that works: measured, with room for a full cell."""

_USUAL_CELL = 250_000
_DEEPEST_CELLS = 5


@dataclass(frozen=True)
class Plan:
    """How a source becomes a COPC file. Nothing here depends on the number of processes.

    Attributes:
        source: the file to read.
        decoder: what to read it with.
        cube: the octree's cube.
        scratch: folder of packs and segments.
        levels: the level of the cells into which the points are first distributed.
        extra: the described extra dimensions.
        laz_record: how the chunks of the product are compressed.
        grid: what coarse levels of the octree show one point each of.
        batch_bytes: how many bytes of points are in memory at once while they are distributed.
        sample_step: every how many points one is kept for a first impression; 0 for none.
    """

    source: Source
    decoder: Decoder
    cube: Cube
    scratch: Path
    levels: int
    extra: tuple[ExtraDimension, ...]
    laz_record: bytes
    grid: GridKind = "cubes"
    batch_bytes: int = _CELL_BYTES
    sample_step: int = 0

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The product's records."""
        return record_dtype(target_format(self.source.point_format), self.source.extra_bytes)

    @property
    def batch_points(self) -> int:
        """How many points are in memory at once while they are distributed."""
        return max(min(1_000_000, self.batch_bytes // self.dtype.itemsize), 1000)

    @property
    def leaf_points(self) -> int:
        """Subtrees of at most this many points are one node; fewer if the records are huge."""
        return max(min(LEAF_POINTS, _CELL_BYTES // self.dtype.itemsize), 1)

    @property
    def cell_points(self) -> int:
        """A cell with more points than this is split before it is built."""
        return max(min(1_200_000, _CELL_BYTES // self.dtype.itemsize), self.leaf_points)


def processes_within(memory_bytes: int, workers: int) -> tuple[int, int]:
    """How many processes may work in this much memory, and how many bytes a batch of each may have.

    At least one: it then reads in smaller batches, but a full cell has to fit all the same.
    """
    left = memory_bytes - _LEADER_BYTES
    processes = max(1, min(workers, left // _MEMBER_BYTES))
    spare = max(left // processes - _MEMBER_BYTES // 4, 0)
    return processes, min(_CELL_BYTES, max(_LEAST_BATCH_BYTES, spare // 4))


def cell_levels(points: int) -> int:
    """The level at which a cloud that lies like a surface has cells of about 250 000 points."""
    levels = 0
    if points <= 4 * _USUAL_CELL:
        return 0
    while points > _USUAL_CELL * 4**levels and levels < _DEEPEST_CELLS:
        levels += 1
    return levels


@dataclass(frozen=True)
class Range:
    """Points `start` to `start + count` of the source, written to the pack file `pack`."""

    start: int
    count: int
    pack: str


def ranges_of(points: int, starts: Sequence[int], *, parts: int) -> list[Range]:
    """About `parts` ranges that begin at `starts`. Their names sort in the order of the points."""
    if not points:
        return []
    wanted = [bisect_left(starts, points * part // parts) for part in range(parts)]
    begins = sorted({starts[at] for at in wanted if at < len(starts)})
    ends = [*begins[1:], points]
    return [
        Range(begin, end - begin, f"points-{number:06d}")
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True))
        if end > begin
    ]

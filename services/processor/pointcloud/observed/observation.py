"""What is counted and seen of the points while they are built into the octree.

Only what some product needs is observed: points pass by untouched if nobody asks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from services.processor.pointcloud.ground.rule import GroundFound, classify
from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.observed.spots import Spots, View, spots_of
from services.processor.pointcloud.observed.statistics import Tally
from services.processor.pointcloud.octree.morton import Key
from services.processor.pointcloud.octree.spill import Piece, write_whole
from services.processor.pointcloud.tiles.tiles import Sketch, Tile, Tiler


@dataclass(frozen=True)
class Scope:
    """What to observe.

    Attributes:
        ranges: the smallest and largest value of every dimension.
        statistics: whether every dimension is counted, not only what the header tells.
        view: what to remember of the points as seen from above, if anything.
        ground: what a filter has found to be ground, if it had to look.
        classify: whether points that nobody has classified get a class by it.
        sketch: how to draw the nodes of the octree, if they are to be drawn.
    """

    ranges: Ranges
    statistics: bool
    view: View | None
    ground: GroundFound | None = None
    classify: bool = False
    sketch: Sketch | None = None


@dataclass
class Seen:
    """What has been observed.

    Attributes:
        tally: what has been counted.
        strips: where the spots of each strip of the grid lie.
        reclassified: how many points got another class.
        tiles: what was drawn of the nodes.
    """

    tally: Tally
    strips: dict[int, list[Piece]]
    reclassified: int = 0
    tiles: list[Tile] = field(default_factory=list)


class Observation:
    """What one process observes; the order of the points does not matter.

    Spots go to the file `name` in the folder, so that memory does not grow with the grid.
    """

    def __init__(self, scope: Scope, folder: Path, name: str) -> None:
        self._view = scope.view
        self._classify = scope.ground if scope.classify else None
        self._name = name
        self._file = (folder / name).open("wb", buffering=0)
        self.seen = Seen(Tally(scope.ranges, whole=scope.statistics), {})
        self._tiler = Tiler(scope.sketch, folder, f"{name}-tiles") if scope.sketch else None

    def add(self, records: Records) -> None:
        """Take these records into account; they may get other classes."""
        if self._classify:
            self.seen.reclassified += classify(records, self._classify)
        self.seen.tally.add(records)
        self.look(records)

    def look(self, records: Records) -> None:
        """Take only into account what they look like from above."""
        if self._view:
            self._keep(spots_of(records, self._view), self._view)

    def draw(self, key: Key, records: Records) -> None:
        """Draw a finished node of the octree, if nodes are to be drawn."""
        if self._tiler:
            self.seen.tiles.append(self._tiler.draw(key, records))

    def close(self) -> None:
        """Close the files; what is in them stays."""
        self._file.close()
        if self._tiler:
            self._tiler.close()

    def _keep(self, spots: Spots, view: View) -> None:
        if not len(spots):
            return
        strips = spots["cell"] // (view.strip_rows * view.frame.width)
        found, starts = np.unique(strips, return_index=True)
        ends = [*starts[1:].tolist(), len(spots)]
        at = self._file.tell()
        write_whole(self._file, spots.data)
        for strip, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True):
            piece = Piece(self._name, at + start * spots.dtype.itemsize, end - start)
            self.seen.strips.setdefault(strip, []).append(piece)


def together(scope: Scope, parts: Iterable[Seen]) -> Seen:
    """What several have observed."""
    whole = Seen(Tally(scope.ranges, whole=scope.statistics), {})
    for part in parts:
        whole.tally.merge(part.tally)
        whole.tiles += part.tiles
        whole.reclassified += part.reclassified
        for strip, pieces in part.strips.items():
            whole.strips.setdefault(strip, []).extend(pieces)
    return whole

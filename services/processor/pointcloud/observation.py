"""What is counted and seen of the points while they are built into the octree.

Only what some product needs is observed: most points pass by untouched if nobody asks.
"""

from dataclasses import dataclass
from typing import Literal

from services.processor.pointcloud.ranges import Ranges
from services.processor.pointcloud.records import Records
from services.processor.pointcloud.statistics import Tally
from services.processor.pointcloud.surface import Frame, Surface

Need = Literal["statistics", "surface"]
"""What a product may need: the distributions of all dimensions; the cloud seen from above."""


@dataclass(frozen=True)
class Scope:
    """What to observe.

    Attributes:
        ranges: the smallest and largest value of every dimension.
        statistics: whether every dimension is counted, not only what the header tells.
        frame: the grid seen from above, if there is to be one.
    """

    ranges: Ranges
    statistics: bool
    frame: Frame | None


class Observation:
    """What one process has observed; the order does not matter."""

    def __init__(self, scope: Scope) -> None:
        self.tally = Tally(scope.ranges, whole=scope.statistics)
        self.surface = Surface(scope.frame) if scope.frame else None

    def add(self, records: Records) -> None:
        """Take these records into account."""
        self.tally.add(records)
        if self.surface:
            self.surface.add(records)

    def merge(self, other: "Observation") -> None:
        """Take what another has observed into account."""
        self.tally.merge(other.tally)
        if self.surface and other.surface:
            self.surface.merge(other.surface)

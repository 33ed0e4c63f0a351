"""What is asked of the mill."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.las.source import Source

Need = Literal["statistics", "surface", "lowest", "ground", "tiles"]
"""What a product may need: the distributions of all dimensions; the highest points on a grid; the
lowest heights; the mean height of the ground; the nodes of the octree as tiles."""


@dataclass(frozen=True)
class Order:
    """What is to be milled, where, and with how much.

    Attributes:
        source, crs: the cloud.
        copc: where the product is to be written.
        scratch: an empty folder for everything on the way.
        workers: how many processes may be busy; fewer are used if the memory is not enough.
        memory_bytes: how much memory all of them may hold together.
        needs: what has to be observed for the products.
        resolution: the side of a cell of the grid seen from above, if it is not left to the engine:
            in metres if the coordinates are degrees, in their units otherwise.
        classify_ground: whether points that nobody has classified are to get a class, if a filter
            has to look for the ground anyway.
        needs_laszip: whether the inspection found that lazrs must not read the source.
    """

    source: Source
    crs: CloudCrs
    copc: Path
    scratch: Path
    workers: int
    memory_bytes: int
    needs: frozenset[Need]
    resolution: float | None = None
    classify_ground: bool = False
    needs_laszip: bool = False

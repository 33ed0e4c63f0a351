"""The grids through which the nodes of the octree see the points.

An inner node shows one point of each cell of its grid, which has 128 cells along each side:

* cubes: 128 x 128 x 128 of them. Walls and floors are shown alike: right for a scene.
* columns: 128 x 128, as high as the node. Seen from above, the points of each level are spread
  evenly, whatever grows or stands there: right for a landscape. The root, whose few points are all
  that is seen at first, has 256 x 128.

Grid cells of all levels nest: each lies in one cell of the grid of the node above.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.octree.morton import CODE_LEVELS, Places

GRID_LEVELS = 7
"""A node's grid has 2**7 = 128 cells along each side."""

GridKind = Literal["cubes", "columns"]


def grid_cells(
    places: Sequence[Places], kind: GridKind, level: int, depth: int
) -> tuple[NDArray[np.intp], int]:
    """The number of each point's grid cell, and how many cells there may be.

    `places` are those of points within an octree cell, CODE_LEVELS deep. The grid is that of the
    node at `level` that holds the point and lies `depth` levels below the octree cell; a negative
    depth means an ancestor, of whose grid only the cells that meet the octree cell are counted.
    """
    cells = np.zeros(len(places[0]), np.intp)
    count = 1
    for axis, place in enumerate(places[:2] if kind == "columns" else places):
        side = GRID_LEVELS + (kind == "columns" and level == 0 and axis == 0)
        known = side + depth
        if known <= 0:
            # All of the octree cell lies in one cell of a grid this coarse.
            continue
        bits = min(side, known)
        cells <<= bits
        cells |= place >> (CODE_LEVELS - known) & ((1 << bits) - 1)
        count <<= bits
    return cells, count

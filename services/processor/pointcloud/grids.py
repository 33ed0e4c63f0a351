"""The grids through which the nodes of the octree see the points.

A node above the leaves shows one point of each cell of its grid, which has 128 cells along each
side. Two grids are known:

* `cells_of`: 128 x 128 x 128 cubes. Walls and floors are shown alike: right for a scene.
* `columns_of`: 128 x 128 columns as high as the node. Seen from above, the points of each level are
  spread evenly, whatever grows or stands there: right for a landscape. The root, whose few points
  are all that is seen at first, has 256 x 128 of them.

Grid cells of all levels nest: the codes of a grid, sorted, have every cell of every level as one
run, and what is true of a cell's points can be handed on to the cell that holds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.processor.pointcloud.morton import CODE_LEVELS, Codes, Places, interleave

GRID_LEVELS = 7
"""A node's grid has 2**7 = 128 cells along x and y."""

_COLUMN_DEPTH = 12
"""Levels below the octree cell down to which columns can be told apart."""


@dataclass(frozen=True)
class Grid:
    """How the points of an octree cell lie in the grids of the nodes above, at and below it.

    Attributes:
        codes: one per point; the upper bits name the grid cell.
        columns: whether a grid cell is as high as its node.
        deepest: how many levels below the octree cell have grids.
    """

    codes: Codes
    columns: bool
    deepest: int

    def cells(self, codes: Codes, level: int, cell_level: int) -> Codes:
        """The grid cells, of nodes at `level`, of codes of points in an octree cell."""
        depth = level + GRID_LEVELS - cell_level
        if depth < 0:
            # One point of a grid this coarse stands for the whole octree cell, and for others.
            return np.zeros_like(codes)
        if not self.columns:
            return codes >> np.uint64(3 * (CODE_LEVELS - depth))
        below = max(depth - GRID_LEVELS, 0)
        dropped = 3 * (_COLUMN_DEPTH - below) + 2 * (GRID_LEVELS - min(depth, GRID_LEVELS))
        return codes >> np.uint64(dropped if level else dropped - 1)


def cells_of(codes: Codes) -> Grid:
    """The grid of small cubes, from Morton codes of CODE_LEVELS levels."""
    return Grid(codes, columns=False, deepest=CODE_LEVELS - GRID_LEVELS)


def columns_of(places: Sequence[Places]) -> Grid:
    """The grid of columns, from places along x, y and z of CODE_LEVELS bits each.

    A code begins with the places along x and y within the columns of the octree cell itself, x and
    y in turn. Then, level by level, come the half along x, the half along z, which is the node's,
    and the half along y.
    """
    x, y, z = places
    fine = np.uint64(CODE_LEVELS - GRID_LEVELS)
    left = np.uint64(CODE_LEVELS - GRID_LEVELS - _COLUMN_DEPTH)
    low = np.uint64((1 << _COLUMN_DEPTH) - 1)
    code = _pairs(x >> fine) << np.uint64(1)
    code |= _pairs(y >> fine)
    code <<= np.uint64(3 * _COLUMN_DEPTH)
    code |= interleave(
        ((x >> left) & low, z >> np.uint64(CODE_LEVELS - _COLUMN_DEPTH), (y >> left) & low)
    )
    return Grid(code, columns=True, deepest=_COLUMN_DEPTH)


def _pairs(places: Places) -> Codes:
    """One zero bit between every two of the GRID_LEVELS bits."""
    for shift, mask in ((4, 0x0F0F), (2, 0x3333), (1, 0x5555)):
        places = (places | (places << np.uint64(shift))) & np.uint64(mask)
    return places

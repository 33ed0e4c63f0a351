"""Whether a cloud lies like a landscape or like a scene: that decides how coarse levels thin it.

An airborne cloud has about as many points on each square metre, wherever trees or houses stand.
Cubes would show more points where it is high: one for each floor. A scanner on the ground sees walls
point by point: columns would show next to nothing of them.
"""

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.octree.grids import GridKind

LEVELS = 6
"""Points are counted in 2**LEVELS cells along each axis of the cube."""

_SPREAD = 1.0
_STOREYS = 8.0
_LEAST_COLUMNS = 256


def fitting_grid(counts: NDArray[np.int64]) -> GridKind:
    """Columns for points that are spread evenly if seen from above, and lie in few storeys.

    `counts` are points by Morton code of LEVELS levels. Of the columns that have points, the number
    of points must not vary by more than its mean (coefficient of variation at most 1), and on
    average at most eight cells of a column may have points. A cloud in few columns is a scene: a
    wall, a tree, or a place with strays far away.
    """
    numbers = np.arange(len(counts), dtype=np.int64)
    column = np.zeros_like(numbers)
    for level in range(LEVELS):
        pair = (numbers >> (3 * level + 1)) & 3
        column |= pair << (2 * level)
    by_column = np.zeros(4**LEVELS, np.int64)
    np.add.at(by_column, column, counts)
    occupied = by_column[by_column > 0]
    if len(occupied) < _LEAST_COLUMNS:
        return "cubes"
    storeys = np.count_nonzero(counts) / len(occupied)
    even = occupied.std() <= _SPREAD * occupied.mean()
    return "columns" if even and storeys <= _STOREYS else "cubes"

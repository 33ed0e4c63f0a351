"""Morphological openings of a grid of heights with growing windows, at the same cost for any size.

An opening takes away whatever is narrower than its window and stands up: it is a minimum over the
window followed by a maximum. The window is an octagon, made of lines along the rows, the columns
and both diagonals. The minimum along a line is found by doubling: of two cells, of four, of eight.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.float32]
Steps = NDArray[Any]
"""Heights as they are, or counted in steps of any integer type: the narrower, the faster."""

_DIAGONAL = 0.293
"""Share of the radius that each diagonal contributes to a regular octagon: 1 - sqrt(1/2)."""


def opened(heights: Steps, radius: int) -> Steps:
    """The heights without what is narrower than `2 * radius + 1` cells; no NaN among them.

    Windows have their centres on the grid: at its edge half a window is enough.
    """
    least, most = _ends(heights.dtype)
    lowest = np.pad(heights, radius, constant_values=most)
    eroded = _over_window(lowest, radius, np.minimum)
    highest = np.pad(eroded, radius, constant_values=least)
    return _over_window(highest, radius, np.maximum)


def _ends(kind: np.dtype[Any]) -> tuple[float, float]:
    """What is never above, and never below any height of this type."""
    if kind.kind == "f":
        return -np.inf, np.inf
    limits = np.iinfo(kind)
    return limits.min, limits.max


def _over_window(grid: Steps, radius: int, pick: np.ufunc) -> Steps:
    """The least or greatest height of each whole window; the grid loses `radius` on every side."""
    if radius <= 2:
        # Too small for an octagon: a cross, widened by a square.
        for _ in range(radius - 1):
            grid = _over_line(_over_line(grid, 0, 1, 1, pick), 1, 0, 1, pick)
        across, along = _over_line(grid, 0, 1, 1, pick), _over_line(grid, 1, 0, 1, pick)
        cross: Steps = pick(across[1:-1], along[:, 1:-1])
        return cross
    diagonal = round(_DIAGONAL * radius)
    straight = radius - 2 * diagonal
    grid = _over_line(_over_line(grid, 0, 1, straight, pick), 1, 0, straight, pick)
    return _over_line(_over_line(grid, 1, 1, diagonal, pick), 1, -1, diagonal, pick)


def _over_line(grid: Steps, down: int, right: int, reach: int, pick: np.ufunc) -> Steps:
    """The least or greatest of the `2 * reach + 1` cells on each line that lies on the grid."""
    length, covered = 2 * reach + 1, 1
    while covered < length:
        step = min(covered, length - covered)
        rows, columns = grid.shape[0] - down * step, grid.shape[1] - abs(right) * step
        first, second = (step, 0) if right < 0 else (0, right * step)
        here = grid[:rows, first : first + columns]
        ahead = grid[down * step :, second : second + columns]
        grid = pick(here, ahead)
        covered += step
    return grid

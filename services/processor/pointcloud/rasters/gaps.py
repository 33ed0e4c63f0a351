"""Small gaps in grids: cells without points between cells with points."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 3
_ENOUGH = 5
"""A cell is a gap if so many of the eight around it have values; edges stay where they are."""


def fill_gaps(
    mask: NDArray[np.bool_], grids: list[NDArray[Any]]
) -> tuple[NDArray[np.bool_], list[NDArray[np.float32]]]:
    """Fill gaps of up to about six cells across with the means of what lies around them.

    Args:
        mask: which cells have values.
        grids: the values, each grid of the shape of the mask.

    Returns:
        Which cells have values now, and the values.
    """
    known = np.pad(mask, 1)
    filled = [np.pad(grid.astype(np.float32, copy=False), 1) for grid in grids]
    width = known.shape[1]
    around = [down * width + right for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    inside = np.zeros_like(known)
    inside[1:-1, 1:-1] = True
    voids = np.flatnonzero(inside & ~known)
    flat = known.reshape(-1)
    for _ in range(_ROUNDS):
        neighbours = np.zeros(len(voids), np.uint8)
        for step in around:
            neighbours += flat[voids + step]
        chosen = neighbours >= _ENOUGH
        gaps = voids[chosen]
        if not len(gaps):
            break
        for grid in filled:
            values, total = grid.reshape(-1), np.zeros(len(gaps), np.float32)
            for step in around:
                total += np.where(flat[gaps + step], values[gaps + step], np.float32(0))
            values[gaps] = total / neighbours[chosen]
        flat[gaps] = True
        voids = voids[~chosen]
    return known[1:-1, 1:-1], [grid[1:-1, 1:-1] for grid in filled]

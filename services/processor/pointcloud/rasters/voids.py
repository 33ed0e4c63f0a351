"""What may stand in the empty cells of a grid, from the cells around them. Empty cells are NaN."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.float32]
_FARTHEST = 4
_SHORT = 64
"""Cells; up to here looking along each row is cheaper than loading the library for distances."""

_MANY = 1 << 30


def fill_smoothly(grid: Heights, rounds: int = 4) -> Heights:
    """A membrane spanned over the empty cells and held by the others.

    Coarse to fine: at each level of a pyramid of means, the empty cells begin with what the coarser
    level says and are relaxed, in so many rounds, towards the solution of Laplace's equation. A
    grid without any height comes back as it is.
    """
    known = ~np.isnan(grid)
    if known.all() or not known.any():
        return grid
    levels = [(np.where(known, grid, np.float32(0)), known)]
    while max(levels[-1][0].shape) > 1:
        levels.append(halved(*levels[-1]))
    filled = levels[-1][0]
    for means, known_here in reversed(levels[:-1]):
        filled = np.where(known_here, means, _doubled(filled, means.shape))
        for _ in range(rounds):
            filled = np.where(known_here, means, _mean_around(filled))
    return filled


def fill_from_nearest(grid: Heights) -> Heights:
    """The nearest height, with the seams between the realms of neighbours worn down."""
    empty = np.isnan(grid)
    if not empty.any() or empty.all():
        return grid
    from scipy import ndimage  # noqa: PLC0415 - takes long to load, and few clouds need it

    place = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    filled: Heights = grid[tuple(place)]
    for _ in range(2):
        filled = np.where(empty, mean_of_nine(filled), filled)
    return filled


def mean_of_nine(grid: Heights) -> Heights:
    """The mean of each cell and its eight neighbours; beyond the edge lies what lies at the edge."""
    padded = np.pad(grid, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total: Heights = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return total * np.float32(1 / 9)


def near(mask: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """Where a cell of the mask is at most `reach` cells away, from middle to middle."""
    if not mask.any():
        return mask
    if reach > _SHORT:
        from scipy import ndimage  # noqa: PLC0415 - as above

        distant: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask) <= reach
        return distant
    # A disc is a pile of lines, each as wide as its distance from the middle lets it be.
    radius, along = int(reach), _along_rows(mask)
    found: NDArray[np.bool_] = along <= radius
    for down in range(1, min(radius, len(mask) - 1) + 1):
        half = max(h for h in range(radius + 1) if math.sqrt(down * down + h * h) <= reach)
        line = along <= half
        found[down:] |= line[:-down]
        found[:-down] |= line[down:]
    return found


def _along_rows(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How many cells away the nearest cell of the mask in the same row is, up to 255."""
    columns = np.arange(mask.shape[1], dtype=np.int32)
    before = np.maximum.accumulate(np.where(mask, columns, np.int32(-_MANY)), axis=1)
    after = np.where(mask, columns, np.int32(_MANY))[:, ::-1]
    after = np.minimum.accumulate(after, axis=1)[:, ::-1]
    return np.minimum(np.minimum(columns - before, after - columns), 255).astype(np.uint8)


def within_outline(mask: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """The mask with its gaps closed up to a width of `2 * reach` cells; its outer edge stays."""
    # A reach of several times the grid closes what any larger one would, to a part of a cell.
    reach = min(reach, _FARTHEST * math.hypot(*mask.shape))
    pad = int(reach) + 1
    outside = ~near(np.pad(mask, pad), reach)
    inside = ~near(outside, reach)
    return inside[pad:-pad, pad:-pad] | mask


def halved(means: Heights, known: NDArray[np.bool_]) -> tuple[Heights, NDArray[np.bool_]]:
    """Means of two by two cells, of those that are known, and where there are any."""
    rows, columns = means.shape
    even = ((0, rows % 2), (0, columns % 2))
    total = _four(np.pad(means, even))
    count = _four(np.pad(known, even).astype(np.float32))
    return total / np.maximum(count, 1), count > 0


def _four(grid: NDArray[Any]) -> NDArray[Any]:
    total: NDArray[Any] = grid[::2, ::2] + grid[1::2, ::2] + grid[::2, 1::2] + grid[1::2, 1::2]
    return total


def _doubled(grid: Heights, shape: tuple[int, ...]) -> Heights:
    """Twice as many cells along both sides, interpolated linearly, cut to the shape."""
    for axis in (0, 1):
        padded = np.pad(grid, [(1, 1) if at == axis else (0, 0) for at in (0, 1)], mode="edge")
        before, here, after = (
            np.take(padded, range(start, start + grid.shape[axis]), axis=axis) for start in range(3)
        )
        parts = [here * 0.75 + side * 0.25 for side in (before, after)]
        grid = np.stack(parts, axis=axis + 1).reshape(
            [size * 2 if at == axis else size for at, size in enumerate(grid.shape)]
        )
    return grid[: shape[0], : shape[1]].astype(np.float32)


def _mean_around(grid: Heights) -> Heights:
    """The mean of the four neighbours; beyond the edge lies what lies at the edge."""
    padded = np.pad(grid, 1, mode="edge")
    total: Heights = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return total * np.float32(0.25)

"""Contour lines of a grid of heights, drawn for people: smooth, without crumbs."""

import math
from collections.abc import Iterator
from typing import cast

import contourpy
import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.ground.openings import Heights
from services.processor.pointcloud.rasters.voids import fill_smoothly, halved

Line = NDArray[np.float64]
"""Columns and rows, one pair a vertex: 0, 0 is the upper left corner of the grid."""

_LONGEST = 1024
"""Cells along the longer side: finer grids are joined first."""

_SMOOTHING = 1.0
"""Standard deviation in cells of the Gaussian that takes away what is rough."""

_SMALLEST_RING = 25.0
"""Closed lines around fewer cells than this are left out."""

_SHORTEST = 8.0
"""Open lines of fewer cells than this are left out."""

_MOST_LEVELS = 25
_STEPS = (1.0, 2.0, 5.0)


def round_interval(low: float, high: float, least: float) -> float:
    """The 1, 2 or 5 times a power of ten that gives 10 to 25 levels; fewer if it were below `least`."""
    wanted = max((high - low) / _MOST_LEVELS, least)
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(
        float(f"{step * power:.12g}")
        for step in (*_STEPS, 10.0)
        if step * power >= wanted * (1 - 1e-9)
    )


def smoothed(heights: Heights) -> tuple[Heights, int]:
    """The grid that lines are drawn through, and how many cells make one of its cells.

    Heights are NaN where there are none, before and after.
    """
    known, joined = ~np.isnan(heights), 1
    heights = np.where(known, heights, np.float32(0))
    while max(heights.shape) > _LONGEST:
        heights, known = halved(heights, known)
        joined *= 2
    filled = fill_smoothly(np.where(known, heights, np.float32(np.nan)))
    return np.where(known, _blurred(filled), np.float32(np.nan)), joined


def _blurred(heights: Heights) -> Heights:
    """The heights as a Gaussian sees them; beyond the edge lies what lies at the edge."""
    radius = round(3 * _SMOOTHING)
    weights = np.exp(-0.5 / _SMOOTHING**2 * np.arange(-radius, radius + 1) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        size, widths = heights.shape[axis], [(0, 0), (0, 0)]
        widths[axis] = (radius, radius)
        lines = np.moveaxis(np.pad(heights.astype(np.float64), widths, mode="edge"), axis, 0)
        total = lines[radius : radius + size] * weights[radius]
        for away in range(radius, 0, -1):
            behind, ahead = lines[radius - away :][:size], lines[radius + away :][:size]
            total += (behind + ahead) * weights[radius - away]
        heights = np.moveaxis(total, 0, axis).astype(np.float32)
    return heights


def lines_at(smooth: Heights, joined: int, levels: NDArray[np.float64]) -> Iterator[list[Line]]:
    """For each level its lines on the grid that `smoothed` has been given."""
    if min(smooth.shape) < 2:
        yield from ([] for _ in levels)
        return
    generator = contourpy.contour_generator(
        z=np.ma.masked_invalid(smooth), name="serial", corner_mask=True
    )
    for level in levels.tolist():
        # Separate arrays of vertices are what "serial" gives unless told otherwise.
        lines = cast("list[Line]", generator.lines(level))
        yield [(line + 0.5) * joined for line in lines if not _is_crumb(line)]


def _is_crumb(line: Line) -> bool:
    if (line[0] == line[-1]).all():
        x, y = line[:-1].T
        doubled = np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))
        return bool(abs(doubled) / 2 < _SMALLEST_RING)
    return bool(np.hypot(*np.diff(line, axis=0).T).sum() < _SHORTEST)

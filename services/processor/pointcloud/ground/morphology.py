"""Which points are ground, from nothing but their heights: a progressive morphological filter.

In the steps of Pingel, Clarke and McBride (2013, SMRF, doi:10.1016/j.isprsjprs.2012.12.002) and of
Zhang et al. (2003, doi:10.1109/TGRS.2003.810682), on a grid of the lowest height in each cell:

1. Cells that lie far below all their neighbours are errors of measurement: they count as empty.
2. The grid is opened with growing windows. What an opening takes away at once, beyond what a slope
   of the ground explains, stands on the ground: a car, a tree, a hall.
3. What is left, with its gaps filled, is the provisional surface. Cells of the lowest heights that
   lie close to it are ground after all (edges of terraces, banks), and take part in it again.
4. A point is ground if it is close to that surface; on slopes it may be farther away.

Openings are taken of the lowest heights themselves, not of one another, and without the net that
Pingel lays over towns: both were better on the ISPRS reference samples, where the parameters below
(the same for all) are compared with what people have classified.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.ground.openings import Heights, Steps, opened
from services.processor.pointcloud.ground.rule import GroundFilter
from services.processor.pointcloud.rasters.voids import (
    fill_from_nearest,
    fill_smoothly,
    mean_of_nine,
)

_ROUNDS = 2
"""How often cells may join the provisional surface."""

_STEP = 0.005
"""Metres; heights this close together are one height to the openings."""


def ground_between(
    lowest: Heights, cell: float, given: GroundFilter | None = None
) -> tuple[Heights, Heights]:
    """Between which heights points are ground, for each cell.

    Args:
        lowest: the lowest height in each cell, in metres; NaN where there is no point.
        cell: the side of a cell in metres; 1 is best, more is coarser.
        given: what is taken for ground.

    Returns:
        The least and the greatest height of the ground, in metres; all NaN if `lowest` is.
    """
    given = given or GroundFilter()
    if np.isnan(lowest).all():
        return lowest, lowest
    whole, uncertain = _without_pits(lowest, given.pit * cell)
    standing = _standing(whole, cell, given)
    surface = fill_from_nearest(np.where(standing | uncertain, np.float32(np.nan), whole))
    for _ in range(_ROUNDS):
        room = given.joins + given.joins_by_slope * _slope(mean_of_nine(surface), cell) * cell
        joining = (np.abs(whole - surface) <= room) & ~uncertain
        if not joining.any():
            break
        surface = fill_from_nearest(np.where(joining, whole, np.float32(np.nan)))
    room = (given.close + given.close_by_slope * _slope(surface, cell)).astype(np.float32)
    return surface - room, surface + room


def _without_pits(lowest: Heights, depth: float) -> tuple[Heights, NDArray[np.bool_]]:
    """The grid with all gaps and pits filled, and where they were."""
    # What is spanned over a gap must not rise into it; the means of the pyramid alone rise least.
    filled = fill_smoothly(lowest, rounds=0)
    pits = -opened(-filled, 1) - filled > depth
    uncertain = pits | np.isnan(lowest)
    if pits.any() and not uncertain.all():
        filled = fill_smoothly(np.where(uncertain, np.float32(np.nan), lowest), rounds=0)
    return filled, uncertain


def _standing(whole: Heights, cell: float, given: GroundFilter) -> NDArray[np.bool_]:
    """Which cells hold something that stands on the ground."""
    standing = np.zeros(whole.shape, bool)
    before, step = _stepped(whole, given.rough + given.slope * max(given.widest, cell))
    steps = before
    for radius in _radii(given.widest / cell):
        after = opened(steps, radius)
        room = steps.dtype.type((given.rough + given.slope * radius * cell) / step)
        standing |= before > after + room
        before = after
    return standing


def _stepped(whole: Heights, room: float) -> tuple[Steps, float]:
    """The heights in 16 bits, which openings get through twice as fast, and the metres of a step.

    As they are, in metres, where they lie so far apart that `room` above the highest does not fit.
    """
    base = whole.min()
    if (float(whole.max() - base) + room) / _STEP >= np.iinfo(np.uint16).max:
        return whole, 1.0
    return np.rint((whole - base) / np.float32(_STEP)).astype(np.uint16), _STEP


def _radii(widest: float) -> Iterator[int]:
    """One cell wider each time at first, then by a sixth."""
    radius = 1
    while radius <= max(widest, 1):
        yield radius
        radius += max(1, radius // 6)


def _slope(surface: Heights, cell: float) -> Heights:
    """Rise over run; 0 along a side of a single cell."""
    padded = np.pad(surface, 1, mode="edge")
    down, right = np.gradient(padded, np.float32(cell))
    slope: Heights = np.hypot(down, right)[1:-1, 1:-1]
    return slope

"""Where the ground of a cloud lies, if its points do not say so: a filter looks for it."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.crew import Crew
from services.processor.pointcloud.ground.morphology import ground_between
from services.processor.pointcloud.ground.rule import GroundFound, has_ground
from services.processor.pointcloud.las.lengths import Lengths, lengths_of
from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.observed.frame import Frame, frame_of
from services.processor.pointcloud.observed.lookout import lay_surface, without_ground
from services.processor.pointcloud.observed.observation import Scope, together
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.observed.spots import View
from services.processor.pointcloud.observed.surface import Surface
from services.processor.pointcloud.octree.spill import Cell
from services.processor.pointcloud.order import Order
from services.processor.pointcloud.plan import Plan

LEAST_AREA = 100.0
"""Square metres that a cloud has to cover; on less, nothing tells a floor from a table."""

_CELL = 1.0
"""Side of the filter's cells in metres, whatever the rasters have."""

_MOST_CELLS = 1 << 22


def wants_search(order: Order, classes: NDArray[np.int64]) -> bool:
    """Whether the ground has to be known, and the source does not say it."""
    return (order.classify_ground or "ground" in order.needs) and not has_ground(classes)


def find_ground(  # noqa: PLR0913, PLR0917 - one stage of the mill, which holds all of these
    crew: Crew, plan: Plan, scope: Scope, cells: Sequence[Cell], order: Order, sample: Records
) -> Scope:
    """The scope, knowing which points are ground: a filter says so from the lowest heights.

    It takes another look at all points, before they are built. Where the filter makes no sense,
    nothing about the ground is observed.
    """
    lengths = lengths_of(order.crs)
    frame = _frame(order, scope.ranges, sample, lengths) if lengths.upright else None
    if frame is None:
        return without_ground(scope)
    view = View("survey", frame, ("count", "lowest"), reliable_only=True)
    survey = Scope(scope.ranges, False, view)
    crew.all("observe", plan, survey)
    for _ in crew.each("survey", [(cell,) for cell in cells]):
        pass
    seen = together(survey, crew.all("harvest"))
    surface = lay_surface(crew, view, seen.strips, plan.scratch)
    found = GroundFound(frame, plan.scratch / "ground-least", plan.scratch / "ground-greatest")
    if not _filter(surface, found, lengths):
        return without_ground(scope)
    return replace(
        scope,
        view=replace(scope.view, ground=found) if scope.view else None,
        ground=found,
        classify=order.classify_ground,
    )


def _frame(order: Order, ranges: Ranges, sample: Records, lengths: Lengths) -> Frame | None:
    """The grid that the filter works on; larger cells where there would be too many."""
    frame = frame_of(replace(order, resolution=_CELL / lengths.across), ranges, sample)
    if frame is None or frame.width * frame.height <= _MOST_CELLS:
        return frame
    larger = frame.cell * math.sqrt(frame.width * frame.height / _MOST_CELLS)
    return frame_of(replace(order, resolution=larger), ranges, sample)


def _filter(surface: Surface, found: GroundFound, lengths: Lengths) -> bool:
    """Write down between which heights the ground lies; False where that cannot be said."""
    frame, lowest = surface.frame, surface.layer("lowest")
    seen = surface.layer("count") > 0
    side = frame.cell * lengths.across
    if np.count_nonzero(seen) * side * side < LEAST_AREA:
        return False
    unit, base = frame.scales[2] * lengths.up, int(lowest[seen].min())
    heights = np.where(seen, (lowest.astype(np.int64) - base) * unit, np.nan)
    least, greatest = ground_between(heights.astype(np.float32), side)
    for path, ends, rounded in (
        (found.least, least, np.ceil),
        (found.greatest, greatest, np.floor),
    ):
        integers = rounded(ends.astype(np.float64) / unit) + base
        np.clip(integers, -(2**31), 2**31 - 1).astype("<i4").tofile(path)
    return True

"""The first half of the road: every point is read once and lies in scratch by octree cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.crew import Crew
from services.processor.pointcloud.failures import points_missing
from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.octree import evenness
from services.processor.pointcloud.octree.cube import cube_around, fits, seems_misplaced
from services.processor.pointcloud.octree.morton import Key
from services.processor.pointcloud.octree.spill import Piece
from services.processor.pointcloud.plan import Plan, Range


@dataclass(frozen=True)
class Spilled:
    """A cloud as it lies in scratch, and what has been learnt from reading it.

    Attributes:
        pieces: where the records of each octree cell are, in the order of the source.
        ranges: the smallest and largest value of every dimension.
        classes: points by class as they were decoded.
        counts: points by Morton code of evenness.LEVELS levels.
        sample: some of the records, evenly taken.
    """

    pieces: dict[Key, list[Piece]]
    ranges: Ranges
    classes: NDArray[np.int64]
    counts: NDArray[np.int64]
    sample: Records


def distribute(
    crew: Crew, plan: Plan, parts: Sequence[Range], meter: Meter
) -> tuple[Plan, Spilled]:
    """Have all parts of the source read, and the plan with the cube that the points need.

    The header's box is believed until the points say otherwise; then they are read once more.
    """
    spilled = _read(crew, plan, parts, meter)
    if plan.levels and fits(plan.cube, plan.source, spilled.ranges):
        return plan, spilled
    plan = replace(plan, cube=cube_around(plan.source, spilled.ranges))
    if not plan.levels:
        # All of the cloud is one cell, whatever the cube.
        return plan, spilled
    crew.all("observe", plan, None)
    return plan, _read(crew, plan, parts, meter)


def _read(crew: Crew, plan: Plan, parts: Sequence[Range], meter: Meter) -> Spilled:
    points = plan.source.point_count
    meter.stage("read", points, "Reading the points")
    ranges, classes = Ranges(plan.extra), np.zeros(256, np.int64)
    counts = np.zeros(8**evenness.LEVELS, np.int64)
    samples: list[tuple[int, Records]] = []
    pieces: dict[Key, list[Piece]] = {}
    for result in crew.each("distribute", [(part,) for part in parts]):
        ranges.merge(result.ranges)
        classes += result.classes
        counts += result.counts
        samples.append(result.sample)
        for key, found in result.pieces.items():
            pieces.setdefault(key, []).extend(found)
        if plan.levels:
            meter.again("read", needed=seems_misplaced(plan.cube, plan.source, ranges))
    if ranges.points != points:
        raise points_missing(ranges.points, points)
    for found in pieces.values():
        # Ranges end in any order; the names of their packs sort as they lie in the source.
        found.sort()
    samples.sort(key=itemgetter(0))
    taken = [np.empty(0, plan.dtype), *(sample for _, sample in samples)]
    return Spilled(pieces, ranges, classes, counts, np.concatenate(taken))

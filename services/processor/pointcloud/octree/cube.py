"""The octree's cube: around the header's bounds if they are true, around the points otherwise."""

import math

from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.octree.morton import Cube

_LOOSE = 0.5
"""A cube whose points fill less than this share of its side wastes levels of the tree."""


def bounds_of(
    source: Source, ranges: Ranges
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The true bounds in coordinates; zeros for a cloud without points."""
    if "X" not in ranges.by_name:
        return (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    ends = [
        sorted(end * source.scales[axis] + source.offsets[axis] for end in ranges.by_name[name])
        for axis, name in enumerate(("X", "Y", "Z"))
    ]
    (x, xx), (y, yy), (z, zz) = ends
    return (x, y, z), (xx, yy, zz)


def stated_cube(source: Source) -> Cube:
    """The cube that the header's bounds ask for, or one around all possible points."""
    stated = [*source.mins, *source.maxs]
    reaches = [high - low for low, high in zip(source.mins, source.maxs, strict=True)]
    if all(map(math.isfinite, stated)) and min(reaches) >= 0:
        return _cube(source, source.mins, max(reaches))
    low = [-(2.0**31) * abs(s) + o for s, o in zip(source.scales, source.offsets, strict=True)]
    return _cube(source, (low[0], low[1], low[2]), 2.0**32 * max(map(abs, source.scales)))


def cube_around(source: Source, ranges: Ranges) -> Cube:
    """The cube of the points themselves."""
    mins, maxs = bounds_of(source, ranges)
    return _cube(source, mins, max(high - low for low, high in zip(mins, maxs, strict=True)))


def fits(cube: Cube, source: Source, ranges: Ranges) -> bool:
    """Whether the cube holds all points without being much too large for them."""
    mins, maxs = bounds_of(source, ranges)
    reach = max(high - low for low, high in zip(mins, maxs, strict=True))
    return _holds(cube, source, ranges) and reach >= _LOOSE * cube.side


def seems_misplaced(cube: Cube, source: Source, ranges: Ranges) -> bool:
    """Whether the cube will not do, by those of the points that have been read so far."""
    much = 2 * ranges.points >= source.point_count
    return ranges.points > 0 and not (fits if much else _holds)(cube, source, ranges)


def _holds(cube: Cube, source: Source, ranges: Ranges) -> bool:
    """Whether all points lie in the cube."""
    mins, maxs = bounds_of(source, ranges)
    return all(
        cube.corner[axis] <= mins[axis] and maxs[axis] < cube.corner[axis] + cube.side
        for axis in range(3)
    )


def _cube(source: Source, corner: tuple[float, float, float], reach: float) -> Cube:
    """A cube one unit larger on every side: headers round their bounds, if only by half a unit."""
    unit = max(map(abs, source.scales))
    x, y, z = (end - unit for end in corner)
    return Cube((x, y, z), reach * (1 + 1e-9) + 2 * unit, source.scales, source.offsets)

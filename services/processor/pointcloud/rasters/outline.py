"""Outlines of the covered cells of a grid, as polygons with holes, with few vertices."""

from itertools import pairwise
from typing import cast

import contourpy
import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.rasters.voids import within_outline

Ring = NDArray[np.float64]
"""Columns and rows from the upper left corner of the grid, one pair a vertex; the last is the first."""

_GAP = 2.0
"""Gaps up to twice as wide are no holes."""

_TOLERANCE = 0.45
"""Cells; a little less than what is cut off the corner of a cell."""
_CRUMB = 4.0
"""Parts and holes of fewer cells are left out."""


def outlines(covered: NDArray[np.bool_]) -> list[list[Ring]]:
    """For each part its outer ring and then the rings of its holes.

    They run along the edges of the cells, and no farther from them than half a cell.
    """
    closed = np.pad(within_outline(covered, _GAP), 1).astype(np.float32)
    generator = contourpy.contour_generator(
        z=closed, name="serial", fill_type=contourpy.FillType.OuterOffset
    )
    # One array of points and one of offsets for each part is what OuterOffset asks for.
    found, offsets = cast("tuple[list[Ring], list[NDArray[np.uint32]]]", generator.filled(0.5, 2.0))
    parts = []
    for points, ends in zip(found, offsets, strict=True):
        rings = [points[start:end] - 0.5 for start, end in pairwise(ends)]
        parts.append([ring for at, ring in enumerate(rings) if not at or _size(ring) >= _CRUMB])
    parts.sort(key=lambda rings: (-_size(rings[0]), rings[0].tolist()))
    large = [rings for rings in parts if _size(rings[0]) >= _CRUMB] or parts[:1]
    return [[_simplified(ring) for ring in rings] for rings in large]


def signed_area(ring: Ring) -> float:
    """The area within a ring, positive if it runs anticlockwise where y points up."""
    x, y = (ring[:-1] - ring[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _size(ring: Ring) -> float:
    return abs(signed_area(ring))


def _simplified(ring: Ring) -> Ring:
    """The ring with fewer vertices, none of the others farther away than the tolerance.

    After Douglas and Peucker (1973), doi:10.3138/FM57-6770-U75U-7727.
    """
    far = int(np.argmax(((ring - ring[0]) ** 2).sum(axis=1)))
    kept = {0, far, len(ring) - 1}
    open_ends = [(0, far), (far, len(ring) - 1)]
    while open_ends:
        first, last = open_ends.pop()
        if last - first < 2:
            continue
        start, chord = ring[first], ring[last] - ring[first]
        inner = ring[first + 1 : last] - start
        # The distance to the line between the ends, or to the end where those are one place.
        length = float(np.hypot(*chord))
        away = np.abs(inner[:, 0] * chord[1] - inner[:, 1] * chord[0])
        away = away / length if length else np.hypot(inner[:, 0], inner[:, 1])
        at = int(np.argmax(away))
        if away[at] > _TOLERANCE:
            middle = first + 1 + at
            kept.add(middle)
            open_ends += [(first, middle), (middle, last)]
    return ring[sorted(kept)] if len(kept) > 3 else ring

"""The bare ground as a grid: measured where there are ground points, interpolated between them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.ground.openings import Heights
from services.processor.pointcloud.rasters.validity import INTERPOLATED, MEASURED, VOID
from services.processor.pointcloud.rasters.voids import fill_smoothly, near, within_outline

Validity = NDArray[np.uint8]


@dataclass(frozen=True)
class Terrain:
    """A grid of ground heights.

    Attributes:
        heights: NaN where void.
        validity: void, measured or interpolated.
    """

    heights: Heights
    validity: Validity


def span_terrain(measured: Heights, seen: NDArray[np.bool_], reach: float) -> Terrain:
    """Fill the gaps between measured heights.

    Args:
        measured: mean heights of the ground; NaN where there are no ground points.
        seen: where there are points at all.
        reach: how many cells away from measured ground heights are still interpolated. Nothing is
            beyond the outline of what was seen, of which gaps up to twice as wide are a part.
    """
    known = ~np.isnan(measured)
    validity = np.where(known, np.uint8(MEASURED), np.uint8(VOID))
    if not known.any():
        return Terrain(measured, validity)
    between = within_outline(seen, reach) & near(known, reach) & ~known
    validity[between] = INTERPOLATED
    heights = np.where(validity == VOID, np.float32(np.nan), fill_smoothly(measured))
    return Terrain(heights.astype(np.float32), validity)

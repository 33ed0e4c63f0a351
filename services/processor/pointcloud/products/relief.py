"""The bare ground of a cloud, as the products that need it share it: computed once."""

import numpy as np

from services.processor.pointcloud.ground.rule import GROUND
from services.processor.pointcloud.ground.search import LEAST_AREA
from services.processor.pointcloud.ground.terrain import Terrain, span_terrain
from services.processor.pointcloud.las.lengths import lengths_of
from services.processor.pointcloud.observed.surface import Surface
from services.processor.pointcloud.products.kind import (
    Cloud,
    NotApplicable,
    heights_from_above,
)

REACH = 30.0
"""Metres from measured ground within which it is interpolated; as wide as the filter's windows."""

_LEAST_REACH = 3
"""Cells, where they are large."""


_LEAST_SHARE = 0.001
"""Of all points; of fewer, in a scene with a floor and strays below it, nothing could be drawn."""


def ground_of(cloud: Cloud) -> Surface:
    """The grid whose layers tell of the ground. Raises NotApplicable where nothing is known of it."""
    surface = heights_from_above(cloud)
    if "ground_count" not in surface.view.layers:
        raise NotApplicable(
            f"The source says of no points, or of too few, that they are ground (class {GROUND}), "
            f"and on less than {LEAST_AREA:.0f} square metres nothing else tells it."
        )
    ground = int(surface.layer("ground_count").sum(dtype=np.int64))
    if ground == 0:
        raise NotApplicable("None of the cloud's points is ground.")
    if surface.view.ground and ground < _LEAST_SHARE * cloud.milled.product.points:
        raise NotApplicable(
            f"The filter takes only {ground} points for ground: the lowest points of this cloud lie "
            "apart from all others, and are no ground to draw."
        )
    return surface


def terrain_of(cloud: Cloud) -> Terrain:
    """The bare ground: mean heights of its points, interpolated between them within REACH."""
    surface = ground_of(cloud)
    kept = cloud.scratch / "terrain.npy", cloud.scratch / "terrain-validity.npy"
    if kept[1].exists():
        return Terrain(np.load(kept[0]), np.load(kept[1]))
    frame, count = surface.frame, surface.layer("ground_count")
    with np.errstate(invalid="ignore", divide="ignore"):
        means = surface.layer("ground_sum") / count
    means *= frame.scales[2]
    means += frame.offsets[2]
    side = frame.cell * lengths_of(cloud.crs).across
    terrain = span_terrain(
        means.astype(np.float32), surface.layer("count") > 0, max(REACH / side, _LEAST_REACH)
    )
    np.save(kept[0], terrain.heights)
    np.save(kept[1], terrain.validity)
    return terrain

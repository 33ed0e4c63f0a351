"""The bare ground of a cloud, as the products that need it share it: computed once."""

from dataclasses import asdict
from typing import Any

import numpy as np

from services.processor.pointcloud.ground import GroundFilter
from services.processor.pointcloud.ground_rule import GROUND
from services.processor.pointcloud.ground_search import LEAST_AREA
from services.processor.pointcloud.lengths import lengths_of
from services.processor.pointcloud.products.kind import Cloud, NotApplicable
from services.processor.pointcloud.surface import Surface
from services.processor.pointcloud.terrain import Terrain, span_terrain

REACH = 30.0
"""Metres from measured ground within which it is interpolated; as wide as the filter's windows."""

_LEAST_REACH = 3
"""Cells, where they are large."""

_BY_FILTER = (
    f"The source has next to no points in class {GROUND}. Ground is what a progressive morphological "
    "filter has found among all points that are neither noise nor withheld."
)


def ground_of(cloud: Cloud) -> Surface:
    """The grid whose layers tell of the ground. Raises NotApplicable where nothing is known of it."""
    surface = cloud.milled.surface
    if surface is None:
        raise NotApplicable("The cloud has no points.")
    if not lengths_of(cloud.crs).upright:
        raise NotApplicable("In geocentric coordinates z is no height; reproject the cloud first.")
    if "ground_count" not in surface.view.layers:
        raise NotApplicable(
            f"The source says of no points, or of too few, that they are ground (class {GROUND}), "
            f"and on less than {LEAST_AREA:.0f} square metres nothing else tells it."
        )
    if not surface.layer("ground_count").any():
        raise NotApplicable("None of the cloud's points is ground.")
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


def describe_ground(cloud: Cloud) -> dict[str, Any] | None:
    """Who says which points are ground, and how, for the certificate; None if nobody had to know."""
    milled = cloud.milled
    surface, found = milled.surface, milled.ground
    known = surface is not None and "ground_count" in surface.view.layers
    if not known and not found:
        return None
    told: dict[str, Any] = {"by": "filter" if found else "source"}
    if found:
        lengths = lengths_of(cloud.crs)
        told["statement"] = _BY_FILTER
        told["filter"] = {
            "cell_in_metres": found.frame.cell * lengths.across,
            **asdict(GroundFilter()),
        }
        told["assumed"] = list(lengths.assumed)
        told["reclassified_points"] = milled.reclassified
    else:
        told["statement"] = f"Ground is what the source has in class {GROUND}."
    if surface and known:
        told["ground_points"] = int(surface.layer("ground_count").sum(dtype=np.int64))
    return told

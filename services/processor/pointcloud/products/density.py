"""How many points there are on each piece of ground."""

from pathlib import Path

import numpy as np

from services.processor.pointcloud.las.lengths import length_unit
from services.processor.pointcloud.observed.surface import can_halve, halve
from services.processor.pointcloud.products.geotiff import Band, write_cog
from services.processor.pointcloud.products.kind import Cloud, ProductKind, seen_from_above

_POINTS_PER_CELL = 16
"""Cells are joined until they hold so many points on average: few points say little of density."""


def write(cloud: Cloud, path: Path) -> None:
    """One band of points per square unit: per square metre where coordinates are degrees."""
    surface = seen_from_above(cloud)
    frame, count = surface.frame, surface.layer("count").astype(np.int64)
    while count.sum() < _POINTS_PER_CELL * np.count_nonzero(count) and can_halve(frame):
        frame, count = halve(frame, count, np.add)
    density = (count / frame.cell**2).astype(np.float32)
    unit = length_unit(cloud.crs) or "unit"
    bands = [Band("density", density, 0, f"points per square {unit}")]
    write_cog(path, bands, frame, cloud, overviews="average")


PRODUCT = ProductKind(
    name="density",
    file="density.tif",
    media_type="image/tiff; application=geotiff; profile=cloud-optimized",
    title="Points per square unit of ground",
    needs=frozenset({"surface"}),
    write=write,
)

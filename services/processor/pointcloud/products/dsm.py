"""The surface of the highest points: ground, roofs and treetops."""

from pathlib import Path

import numpy as np

from services.processor.pointcloud.gaps import fill_gaps
from services.processor.pointcloud.lengths import height_unit
from services.processor.pointcloud.products.geotiff import Band, write_cog
from services.processor.pointcloud.products.kind import Cloud, ProductKind, heights_from_above

_VOID, _MEASURED, _INTERPOLATED = 0, 1, 2


def write(cloud: Cloud, path: Path) -> None:
    """Heights, and a band that says which are measured."""
    surface = heights_from_above(cloud)
    heights = surface.heights("top")
    measured = ~np.isnan(heights)
    known, (filled,) = fill_gaps(measured, [heights])
    filled[~known] = np.nan
    validity = np.where(measured, _MEASURED, np.where(known, _INTERPOLATED, _VOID))
    write_cog(
        path,
        [
            Band("height", filled, np.nan, height_unit(cloud.crs)),
            Band("validity: 0 void, 1 measured, 2 interpolated", validity.astype(np.uint8)),
        ],
        surface.frame,
        cloud,
    )


PRODUCT = ProductKind(
    name="dsm",
    file="dsm.tif",
    media_type="image/tiff; application=geotiff; profile=cloud-optimized",
    title="Surface model of the highest points",
    needs=frozenset({"surface"}),
    write=write,
)

"""The surface of the highest points: ground, roofs and treetops."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.lengths import height_unit
from services.processor.pointcloud.observed.frame import Frame
from services.processor.pointcloud.products.geotiff import Band, write_cog
from services.processor.pointcloud.products.kind import Cloud, ProductKind, heights_from_above
from services.processor.pointcloud.rasters.gaps import fill_gaps
from services.processor.pointcloud.rasters.validity import INTERPOLATED, MEASURED, VALIDITY, VOID


def surface_model(cloud: Cloud) -> tuple[Frame, NDArray[np.float32], NDArray[np.uint8]]:
    """The grid, its heights (NaN where void), and whether they are measured."""
    surface = heights_from_above(cloud)
    heights = surface.heights("top")
    measured = ~np.isnan(heights)
    known, (filled,) = fill_gaps(measured, [heights])
    filled[~known] = np.nan
    validity = np.where(measured, MEASURED, np.where(known, INTERPOLATED, VOID))
    return surface.frame, filled, validity.astype(np.uint8)


def write(cloud: Cloud, path: Path) -> None:
    """Heights, and a band that says which are measured."""
    frame, heights, validity = surface_model(cloud)
    write_cog(
        path,
        [
            Band("height", heights, np.nan, height_unit(cloud.crs)),
            Band(VALIDITY, validity),
        ],
        frame,
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

"""The height of the bare ground as a raster: what would be left without trees and buildings."""

from pathlib import Path

import numpy as np

from services.processor.pointcloud.las.lengths import height_unit
from services.processor.pointcloud.products.geotiff import Band, write_cog
from services.processor.pointcloud.products.kind import Cloud, ProductKind
from services.processor.pointcloud.products.relief import ground_of, terrain_of
from services.processor.pointcloud.rasters.validity import VALIDITY


def write(cloud: Cloud, path: Path) -> None:
    """Two bands: mean height of the ground points of a cell, and whether it was measured."""
    frame, terrain = ground_of(cloud).frame, terrain_of(cloud)
    bands = [
        Band("height of the ground", terrain.heights, np.nan, height_unit(cloud.crs)),
        Band(VALIDITY, terrain.validity),
    ]
    write_cog(path, bands, frame, cloud)


PRODUCT = ProductKind(
    name="dtm",
    file="dtm.tif",
    media_type="image/tiff; application=geotiff; profile=cloud-optimized",
    title="Digital terrain model",
    needs=frozenset({"ground"}),
    write=write,
)

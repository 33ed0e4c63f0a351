"""How high trees and buildings stand above the ground, as a raster."""

from pathlib import Path

import numpy as np

from services.processor.pointcloud.las.lengths import height_unit
from services.processor.pointcloud.products.dsm import surface_model
from services.processor.pointcloud.products.geotiff import Band, write_cog
from services.processor.pointcloud.products.kind import Cloud, ProductKind
from services.processor.pointcloud.products.relief import terrain_of
from services.processor.pointcloud.rasters.validity import INTERPOLATED, MEASURED, VALIDITY, VOID


def write(cloud: Cloud, path: Path) -> None:
    """Surface less terrain, where both are known, and whether both were measured."""
    terrain = terrain_of(cloud)
    frame, surface, seen = surface_model(cloud)
    known = (terrain.validity != VOID) & (seen != VOID)
    measured = (terrain.validity == MEASURED) & (seen == MEASURED)
    # Ground that is higher on average than its highest point is rounding or interpolation.
    heights = np.where(known, np.maximum(surface - terrain.heights, 0), np.float32(np.nan))
    validity = np.where(measured, MEASURED, np.where(known, INTERPOLATED, VOID))
    bands = [
        Band("height above the ground", heights, np.nan, height_unit(cloud.crs)),
        Band(VALIDITY, validity.astype(np.uint8)),
    ]
    write_cog(path, bands, frame, cloud)


PRODUCT = ProductKind(
    name="chm",
    file="chm.tif",
    media_type="image/tiff; application=geotiff; profile=cloud-optimized",
    title="Heights above the ground (canopy height model)",
    needs=frozenset({"surface", "ground"}),
    write=write,
)

"""The intensity of the highest points: how brightly they returned the laser's light."""

from pathlib import Path

import numpy as np

from services.processor.pointcloud.products.geotiff import Band, write_cog
from services.processor.pointcloud.products.kind import (
    Cloud,
    NotApplicable,
    ProductKind,
    seen_from_above,
)
from services.processor.pointcloud.rasters.gaps import fill_gaps


def write(cloud: Cloud, path: Path) -> None:
    """One band of 16 bits as the points have them, small gaps filled; 0 where nothing is known."""
    surface = seen_from_above(cloud)
    values, covered = surface.intensity(), surface.layer("count") > 0
    if not (values[covered] != values[covered][0]).any():
        raise NotApplicable("All points have the same intensity.")
    known, (filled,) = fill_gaps(covered, [values])
    whole = np.where(known, np.rint(filled), 0).astype(np.uint16)
    write_cog(path, [Band("intensity", whole, 0)], surface.frame, cloud, overviews="average")


PRODUCT = ProductKind(
    name="intensity",
    file="intensity.tif",
    media_type="image/tiff; application=geotiff; profile=cloud-optimized",
    title="Intensity of the highest points",
    needs=frozenset({"surface"}),
    write=write,
)

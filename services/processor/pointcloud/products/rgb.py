"""The cloud from above in its own colours."""

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
    """Red, green and blue of the highest points, eight bits each, and what is covered (alpha)."""
    surface = seen_from_above(cloud)
    if not surface.view.coloured:
        raise NotApplicable("The points have no colours.")
    colours = surface.colours()
    bands = [colours[..., band] for band in range(3)]
    known, filled = fill_gaps(surface.layer("count") > 0, bands)
    painted = [np.where(known, np.rint(band), 0).astype(np.uint8) for band in filled]
    alpha = np.where(known, np.uint8(255), np.uint8(0))
    names = ("red", "green", "blue", "alpha")
    write_cog(
        path,
        [Band(name, values) for name, values in zip(names, [*painted, alpha], strict=True)],
        surface.frame,
        cloud,
        overviews="average",
    )


PRODUCT = ProductKind(
    name="rgb",
    file="rgb.tif",
    media_type="image/tiff; application=geotiff; profile=cloud-optimized",
    title="View from above in the cloud's colours",
    needs=frozenset({"surface"}),
    write=write,
)

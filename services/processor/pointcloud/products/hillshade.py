"""The surface of the highest points as if the sun lit it, for people to look at and for maps."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.lengths import lengths_of
from services.processor.pointcloud.products.geotiff import Band, write_cog
from services.processor.pointcloud.products.kind import Cloud, ProductKind, heights_from_above
from services.processor.pointcloud.rasters.gaps import fill_gaps

Heights = NDArray[np.floating[Any]]

_LIGHTS = ((315, 0.55), (255, 0.2), (15, 0.25))
"""Azimuths and shares of three lights: slopes that turn away from one are still seen."""

_ALTITUDE = 45.0


def write(cloud: Cloud, path: Path) -> None:
    """One band from 1 (dark) to 255; 0 where there are no points."""
    surface = heights_from_above(cloud)
    heights, lengths = surface.heights("top"), lengths_of(cloud.crs)
    known, (filled,) = fill_gaps(~np.isnan(heights), [heights])
    steepness = lengths.up / (surface.frame.cell * lengths.across)
    shade = np.where(known, shaded(filled, known, steepness), np.uint8(0))
    write_cog(path, [Band("light", shade, 0)], surface.frame, cloud, overviews="average")


def shaded(heights: Heights, known: NDArray[np.bool_], steepness: float) -> NDArray[np.uint8]:
    """How bright each cell is, from 1 to 255.

    Args:
        heights: of the cells.
        known: which of them mean something; the others slope nowhere.
        steepness: what makes rise over run of the difference between neighbours.
    """
    right, down = _rises(heights, known, 1, steepness), _rises(heights, known, 0, steepness)
    length = np.sqrt(1 + right**2 + down**2)
    altitude = np.radians(_ALTITUDE)
    light = np.zeros_like(heights)
    for azimuth, share in _LIGHTS:
        east = np.float32(share * np.cos(altitude) * np.sin(np.radians(azimuth)))
        north = np.float32(share * np.cos(altitude) * np.cos(np.radians(azimuth)))
        # The light that falls on a slope is the cosine between its normal and the light.
        light += np.maximum(np.float32(share * np.sin(altitude)) - east * right + north * down, 0)
    light /= length
    bright: NDArray[np.uint8] = np.clip(np.rint(light * 254) + 1, 1, 255).astype(np.uint8)
    return bright


def _rises(heights: Heights, known: NDArray[np.bool_], axis: int, steepness: float) -> Heights:
    """Rise over run along an axis, between the neighbours on both sides or the one that is known."""
    step = np.diff(heights, axis=axis) * np.float32(steepness)
    here, there = (known[:-1], known[1:]) if axis == 0 else (known[:, :-1], known[:, 1:])
    both = here & there
    step[~both] = 0
    wide = [(1, 1) if at == axis else (0, 0) for at in (0, 1)]
    step, both = np.pad(step, wide), np.pad(both, wide)
    first, last = (slice(None, -1), slice(1, None)) if axis == 0 else (np.s_[:, :-1], np.s_[:, 1:])
    sides = both[first].astype(np.float32) + both[last]
    rise: Heights = (step[first] + step[last]) / np.maximum(sides, 1)
    return rise


PRODUCT = ProductKind(
    name="hillshade",
    file="hillshade.tif",
    media_type="image/tiff; application=geotiff; profile=cloud-optimized",
    title="Shaded relief of the highest points",
    needs=frozenset({"surface"}),
    write=write,
)

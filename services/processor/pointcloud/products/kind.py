"""What a product is: the one shape that every product's module fills, and what it is made from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.las.lengths import lengths_of
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.mill import Milled
from services.processor.pointcloud.observed.surface import Surface
from services.processor.pointcloud.order import Need


class NotApplicable(Exception):
    """There is no such product of this cloud; the sentence says why."""


@dataclass(frozen=True)
class Settings:
    """What a caller may choose about the products.

    Attributes:
        picture_cells: pixels along the longer side of the preview.
        contour_interval: from one contour line to the next, in units of the heights; None for a
            round one that suits the terrain.
    """

    picture_cells: int = 1024
    contour_interval: float | None = None


@dataclass(frozen=True)
class Cloud:
    """A milled cloud, as its products see it.

    Attributes:
        source, crs: what was read, and its coordinate system.
        milled: what was counted and seen on the way.
        copc: the finished COPC file.
        scratch: a folder for everything that is no product; removed after the attempt.
        settings: what the caller chose.
    """

    source: Source
    crs: CloudCrs
    milled: Milled
    copc: Path
    scratch: Path
    settings: Settings


def seen_from_above(cloud: Cloud) -> Surface:
    """The cloud from above. Raises NotApplicable if there is nothing to see."""
    surface = cloud.milled.surface
    if surface is None:
        raise NotApplicable("The cloud has no points.")
    return surface


def heights_from_above(cloud: Cloud) -> Surface:
    """The same where z is a height. Raises NotApplicable where it is none."""
    surface = seen_from_above(cloud)
    if not lengths_of(cloud.crs).upright:
        raise NotApplicable("The coordinates are geocentric: z is no height above the ground.")
    return surface


@dataclass(frozen=True)
class ProductKind:
    """One kind of product. Its module is called like it.

    Attributes:
        name: how callers ask for it; unique.
        file: the name of its file among the products.
        media_type, title: what it is, for programs and for people.
        needs: what has to be observed while the points pass by.
        write: makes the file; raises NotApplicable if this cloud has no such product. The bytes
            depend on the cloud and the settings only.
    """

    name: str
    file: str
    media_type: str
    title: str
    needs: frozenset[Need]
    write: Callable[[Cloud, Path], None]

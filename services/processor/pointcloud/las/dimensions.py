"""The dimensions of a COPC file as STAC's point cloud extension lists them, under PDAL's names."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from services.processor.pointcloud.products.info import distributions
from services.processor.pointcloud.products.kind import Cloud


class Dimension(NamedTuple):
    """One of them; `counted` is the name under which its distribution is kept, if it is."""

    name: str
    bytes: int
    type: str
    counted: str | None = None


_OF_ALL = (
    Dimension("X", 8, "floating", "x"),
    Dimension("Y", 8, "floating", "y"),
    Dimension("Z", 8, "floating", "z"),
    Dimension("Intensity", 2, "unsigned", "intensity"),
    Dimension("ReturnNumber", 1, "unsigned"),
    Dimension("NumberOfReturns", 1, "unsigned"),
    Dimension("ScanDirectionFlag", 1, "unsigned"),
    Dimension("EdgeOfFlightLine", 1, "unsigned"),
    Dimension("Classification", 1, "unsigned", "classification"),
    Dimension("Synthetic", 1, "unsigned"),
    Dimension("KeyPoint", 1, "unsigned"),
    Dimension("Withheld", 1, "unsigned"),
    Dimension("Overlap", 1, "unsigned"),
    Dimension("ScanChannel", 1, "unsigned"),
    Dimension("ScanAngleRank", 4, "floating", "scan_angle"),
    Dimension("UserData", 1, "unsigned", "user_data"),
    Dimension("PointSourceId", 2, "unsigned", "point_source_id"),
    Dimension("GpsTime", 8, "floating", "gps_time"),
)
_OF_COLOUR = tuple(
    Dimension(name, 2, "unsigned", name.lower()) for name in ("Red", "Green", "Blue")
)
_KINDS = {"f": "floating", "u": "unsigned", "i": "signed"}


def dimensions_of(cloud: Cloud) -> list[Dimension]:
    """All that a record of the product has, extra dimensions last."""
    found = list(_OF_ALL)
    point_format = cloud.milled.product.point_format
    if point_format >= 7:
        found += _OF_COLOUR
    if point_format == 8:
        found.append(Dimension("Infrared", 2, "unsigned", "nir"))
    for extra in cloud.milled.ranges.extra:
        plain = np.dtype(extra.type)
        counted = f"extra:{extra.name}"
        if (extra.scale, extra.offset) == (1.0, 0.0):
            found.append(Dimension(extra.name, plain.itemsize, _KINDS[plain.kind], counted))
        else:
            found.append(Dimension(extra.name, 8, "floating", counted))
    return [dimension for dimension in found if dimension.name]


def schemas_of(dimensions: list[Dimension]) -> list[dict[str, Any]]:
    """The value of `pc:schemas`."""
    return [{"name": name, "size": size, "type": kind} for name, size, kind, _ in dimensions]


def statistics_of(cloud: Cloud, dimensions: list[Dimension]) -> list[dict[str, Any]]:
    """The value of `pc:statistics`: of the dimensions whose values were counted, or of the bounds."""
    return [
        {"name": dimensions[position].name, "position": position, **values}
        for position, values in _statistics(cloud, dimensions)
        if all(math.isfinite(value) for value in values.values())
    ]


def _statistics(
    cloud: Cloud, dimensions: list[Dimension]
) -> Iterator[tuple[int, dict[str, int | float]]]:
    product = cloud.milled.product
    if not product.points:
        return
    known = distributions(cloud.source, cloud.milled.tally)
    for position, dimension in enumerate(dimensions):
        if (found := known.get(dimension.counted or "")) is not None:
            yield (
                position,
                {
                    "count": int(found.counts.sum()),
                    "minimum": found.lowest,
                    "maximum": found.highest,
                    "average": found.mean,
                },
            )
        elif position < 3:
            ends = {"minimum": product.mins[position], "maximum": product.maxs[position]}
            yield position, {"count": product.points, **ends}

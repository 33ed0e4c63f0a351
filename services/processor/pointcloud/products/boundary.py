"""Where the cloud lies: the outline of the covered ground, with holes, as GeoJSON."""

from pathlib import Path
from typing import Any

import numpy as np

from services.processor.pointcloud.las.lengths import length_unit
from services.processor.pointcloud.observed.frame import Frame
from services.processor.pointcloud.observed.surface import can_halve, halve
from services.processor.pointcloud.products.geojson import Feature, write_features
from services.processor.pointcloud.products.kind import Cloud, ProductKind, seen_from_above
from services.processor.pointcloud.rasters.outline import Ring, outlines, signed_area

_POINTS_PER_CELL = 8
_LONGEST = 512


def write(cloud: Cloud, path: Path) -> None:
    """One feature: a polygon, or several, and its area. The outline is true to half a cell."""
    surface = seen_from_above(cloud)
    frame, count = surface.frame, surface.layer("count").astype(np.int64)
    while can_halve(frame) and (
        count.sum() < _POINTS_PER_CELL * np.count_nonzero(count) or max(count.shape) > _LONGEST
    ):
        frame, count = halve(frame, count, np.add)
    parts = outlines(count > 0)
    area = sum(abs(signed_area(rings[0])) for rings in parts)
    area -= sum(abs(signed_area(ring)) for rings in parts for ring in rings[1:])
    polygons = [[_placed(ring, frame, outer=not at) for at, ring in enumerate(r)] for r in parts]
    unit = length_unit(cloud.crs)
    feature = Feature(
        "Polygon" if len(polygons) == 1 else "MultiPolygon",
        polygons[0] if len(polygons) == 1 else polygons,
        {
            "points": cloud.milled.product.points,
            "area": area * frame.cell**2,
            "area_unit": f"square {unit}" if unit else None,
            "cell": frame.cell,
            "native": _native(polygons, frame, cloud),
        },
    )
    write_features(path, [feature], cloud, {"name": "boundary"})


def _placed(ring: Ring, frame: Frame, *, outer: bool) -> Ring:
    """The coordinates of a ring, anticlockwise around the outside and clockwise around holes."""
    places = np.column_stack(
        [frame.west + ring[:, 0] * frame.cell_x, frame.north - ring[:, 1] * frame.cell_y]
    )
    return places if (signed_area(places) > 0) == outer else places[::-1]


def _native(polygons: list[list[Ring]], frame: Frame, cloud: Cloud) -> dict[str, Any]:
    """The same rings in the cloud's own coordinates."""
    decimals = max(0, 2 - int(np.floor(np.log10(min(frame.cell_x, frame.cell_y)))))
    return {
        "crs": cloud.crs.name,
        "epsg": cloud.crs.epsg,
        "unit": cloud.crs.unit,
        "coordinates": [
            [np.round(ring, decimals).tolist() for ring in rings] for rings in polygons
        ],
    }


PRODUCT = ProductKind(
    name="boundary",
    file="boundary.geojson",
    media_type="application/geo+json",
    title="Outline of the covered ground",
    needs=frozenset({"surface"}),
    write=write,
)

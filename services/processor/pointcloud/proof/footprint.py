"""The ground that a cloud covers, as a GeoJSON geometry on WGS 84 (RFC 7946)."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from services.processor.pointcloud.las.crs import CloudCrs

Place = list[float]
Corner = Sequence[float]

_DECIMALS = 7
"""Of a degree: a centimetre."""

_PARTS = 4
"""Each edge of the bounds is bent at this many places at most; the bounds are no lines on a globe."""

_DENSIFIED = 21
_MOST_PLACES = 4000
_LONGITUDE_AND_LATITUDE = "Longitude and latitude"


@dataclass(frozen=True)
class Footprint:
    """A geometry and its box: west, south, east, north; west is larger across the date line."""

    geometry: dict[str, Any]
    bbox: tuple[float, float, float, float]


def footprint_of_bounds(crs: CloudCrs, mins: Corner, maxs: Corner) -> Footprint | None:
    """What lies within the bounds; None where nobody knows where on the globe that is."""
    try:
        known = CRS.from_wkt(crs.wkt) if crs.name and crs.wkt else None
        if known is None:
            return None
        ground = (known.sub_crs_list or [known])[0]
        transformer = Transformer.from_crs(ground, "EPSG:4326", always_xy=True)
        if ground.is_geocentric:
            return _of_box(_box_of_space(ground, mins, maxs))
        # Errors are no numbers in the result. Asked to raise them, PROJ would also raise those of
        # the poles, which it tries each time and which a conical projection does not have.
        box = transformer.transform_bounds(
            mins[0], mins[1], maxs[0], maxs[1], densify_pts=_DENSIFIED
        )
        footprint = _of_box(tuple(round(value, _DECIMALS) for value in box))
        if footprint is None or box[0] > box[2] or box[2] - box[0] >= 180:
            return footprint
        return Footprint(_bent(transformer, mins, maxs), footprint.bbox)
    except (CRSError, ProjError):
        return None


def degrees_from_home(crs: CloudCrs, footprint: Footprint) -> float:
    """How far outside the area where its EPSG code is used a cloud lies; 0 within or if unknown."""
    area = CRS.from_epsg(crs.epsg).area_of_use if crs.epsg else None
    west, south, east, north = footprint.bbox
    if area is None or west > east or area.west > area.east:
        return 0.0
    x, y = (west + east) / 2, (south + north) / 2
    return max(area.west - x, x - area.east, area.south - y, y - area.north, 0.0)


def footprint_of_boundary(path: Path) -> Footprint | None:
    """That of a GeoJSON file of polygons; None if it is none, or too detailed for a footprint."""
    collection = json.loads(path.read_text())
    if not str(collection.get("coordinates_are", "")).startswith(_LONGITUDE_AND_LATITUDE):
        return None
    polygons: list[list[list[Place]]] = []
    for feature in collection["features"]:
        geometry = feature["geometry"]
        if geometry["type"] not in ("Polygon", "MultiPolygon"):
            return None
        one = geometry["type"] == "Polygon"
        polygons += [geometry["coordinates"]] if one else geometry["coordinates"]
    places = [place for polygon in polygons for ring in polygon for place in ring]
    if not 0 < len(places) <= _MOST_PLACES:
        return None
    west, south = (min(place[axis] for place in places) for axis in (0, 1))
    east, north = (max(place[axis] for place in places) for axis in (0, 1))
    if east - west >= 180 or not _is_on_globe((west, south, east, north)):
        return None
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    return Footprint(geometry, (west, south, east, north))


def rectangle(mins: Corner, maxs: Corner) -> dict[str, Any]:
    """The bounds along x and y as a polygon, anticlockwise."""
    (west, south), (east, north) = mins[:2], maxs[:2]
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _box_of_space(ground: CRS, mins: Corner, maxs: Corner) -> tuple[float, ...]:
    """The box on the globe around a box of geocentric coordinates."""
    transformer = Transformer.from_crs(ground, "EPSG:4979", always_xy=True)
    corners = np.stack(np.meshgrid(*zip(mins, maxs, strict=True)), axis=-1).reshape(-1, 3)
    lons, lats, _ = transformer.transform(
        corners[:, 0], corners[:, 1], corners[:, 2], errcheck=True
    )
    ends = (lons.min(), lats.min(), lons.max(), lats.max())
    return tuple(round(float(value), _DECIMALS) for value in ends)


def _of_box(box: tuple[float, ...]) -> Footprint | None:
    west, south, east, north = box
    if not _is_on_globe(box):
        return None
    if west <= east:
        return Footprint(rectangle((west, south), (east, north)), (west, south, east, north))
    halves = [rectangle((west, south), (180.0, north)), rectangle((-180.0, south), (east, north))]
    coordinates = [half["coordinates"] for half in halves]
    geometry = {"type": "MultiPolygon", "coordinates": coordinates}
    return Footprint(geometry, (west, south, east, north))


def _is_on_globe(box: Iterable[float]) -> bool:
    west, south, east, north = box
    return (
        all(map(math.isfinite, (west, south, east, north)))
        and max(abs(west), abs(east)) <= 180
        and -90 <= south <= north <= 90
    )


def _bent(transformer: Transformer, mins: Corner, maxs: Corner) -> dict[str, Any]:
    """The bounds with bent edges; a line or a point where they have no area."""
    ring = _places(transformer, rectangle(mins, maxs)["coordinates"][0])
    if mins[0] == maxs[0] and mins[1] == maxs[1]:
        return {"type": "Point", "coordinates": ring[0]}
    if mins[0] == maxs[0] or mins[1] == maxs[1]:
        return {"type": "LineString", "coordinates": _places(transformer, [mins[:2], maxs[:2]])}
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
    return {"type": "Polygon", "coordinates": [ring if area > 0 else ring[::-1]]}


def _places(transformer: Transformer, corners: Sequence[Corner]) -> list[Place]:
    """Longitudes and latitudes of a line, bent where its straight parts are curved on the globe."""
    steps = np.linspace(0, 1, _PARTS, endpoint=False)[:, None]
    bent = [np.array(a) + steps * (np.array(b) - np.array(a)) for a, b in pairwise(corners)]
    places = np.concatenate([*bent, [corners[-1]]])
    turned = transformer.transform(places[:, 0], places[:, 1], errcheck=True)
    rounded: list[Place] = np.round(np.column_stack(turned), _DECIMALS).tolist()
    return rounded

"""Footprints: GeoJSON as RFC 7946 wants it, wherever on the globe the cloud lies."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pyproj import CRS

from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.proof.footprint import (
    Footprint,
    degrees_from_home,
    footprint_of_boundary,
    footprint_of_bounds,
)

Box = tuple[float, float, float, float]


def known(code: int) -> CloudCrs:
    crs = CRS.from_epsg(code)
    return CloudCrs("parameter", wkt=crs.to_wkt(), name=crs.name, epsg=code)


def footprint(code: int, box: Box, heights: tuple[float, float] = (0.0, 10.0)) -> Footprint:
    (west, south, east, north), (low, high) = box, heights
    found = footprint_of_bounds(known(code), (west, south, low), (east, north, high))
    assert found is not None
    return found


def area(ring: Sequence[Sequence[float]]) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring)) / 2


@pytest.mark.parametrize(
    ("code", "box", "near"),
    [
        (25832, (560_000, 5_930_000, 561_000, 5_931_000), (9.91, 53.52)),
        # A conical projection, which has no place for the other pole.
        (2154, (651_000, 6_861_000, 652_000, 6_862_000), (2.33, 48.85)),
        (2193, (1_757_000, 5_920_000, 1_758_000, 5_921_000), (174.77, -36.85)),
        (4326, (8.5, 47.3, 8.6, 47.4), (8.55, 47.35)),
        (2994, (635_616, 848_977, 638_864, 853_362), (-123.07, 44.05)),
    ],
    ids=["UTM", "Lambert", "New Zealand", "degrees", "feet"],
)
def test_a_cloud_lies_where_it_is(code: int, box: Box, near: tuple[float, float]) -> None:
    found = footprint(code, box)
    west, south, east, north = found.bbox
    assert west < east
    assert south < north
    assert (west + east) / 2 == pytest.approx(near[0], abs=0.02)
    assert (south + north) / 2 == pytest.approx(near[1], abs=0.02)
    (ring,) = found.geometry["coordinates"]
    assert ring[0] == ring[-1]
    assert area(ring) > 0, "outer rings run anticlockwise"
    assert degrees_from_home(known(code), found) == 0


def test_axes_that_point_south_do_not_turn_the_ring_around() -> None:
    (ring,) = footprint(2048, (-60_000, -3_700_000, -59_000, -3_699_000)).geometry["coordinates"]
    assert area(ring) > 0


def test_across_the_date_line_there_are_two_parts() -> None:
    found = footprint(3832, (3_000_000, -2_000_000, 3_500_000, -1_900_000))
    west, _, east, _ = found.bbox
    assert west > 0 > east
    assert found.geometry["type"] == "MultiPolygon"
    left, right = (part[0] for part in found.geometry["coordinates"])
    assert max(x for x, _ in left) == 180
    assert min(x for x, _ in right) == -180


def test_around_a_pole_it_is_all_the_longitudes() -> None:
    found = footprint(3031, (-1000, -1000, 1000, 1000))
    assert (found.bbox[0], found.bbox[1], found.bbox[2]) == (-180, -90, 180)
    assert found.geometry["type"] == "Polygon"


def test_geocentric_coordinates_have_a_place() -> None:
    box = (4_201_594.0, 171_508.0, 4_201_597.0, 171_511.0)
    west, south, east, north = footprint(4978, box, (4_779_579.0, 4_779_582.0)).bbox
    assert west == pytest.approx(2.338, abs=0.001)
    assert south == pytest.approx(48.848, abs=0.01)
    assert east - west < 1e-3
    assert north - south < 1e-3


def test_a_point_and_a_line_are_what_they_are() -> None:
    point = footprint(25832, (560_000, 5_930_000, 560_000, 5_930_000))
    line = footprint(25832, (560_000, 5_930_000, 560_000, 5_931_000))
    assert point.geometry["type"] == "Point"
    assert point.geometry["coordinates"] == pytest.approx(list(point.bbox[:2]))
    assert line.geometry["type"] == "LineString"
    assert len(line.geometry["coordinates"]) == 5


@pytest.mark.parametrize(
    ("crs", "box"),
    [
        (CloudCrs("none"), (0, 0, 1, 1)),
        (CloudCrs("wkt_vlr", wkt="nonsense"), (0, 0, 1, 1)),
        (known(4326), (500_000, 4_000_000, 500_001, 4_000_001)),
        (known(25832), (1e12, 1e12, 1.1e12, 1.1e12)),
        (
            CloudCrs("parameter", wkt=CRS.from_user_input("IAU_2015:30100").to_wkt(), name="Moon"),
            (0, 0, 1, 1),
        ),
    ],
    ids=["no system", "nonsense", "metres for degrees", "too far", "the Moon"],
)
def test_what_has_no_place_on_the_globe_has_no_footprint(crs: CloudCrs, box: Box) -> None:
    assert footprint_of_bounds(crs, box[:2], box[2:]) is None


def test_a_cloud_far_from_where_its_system_is_used_is_far_from_home() -> None:
    france = known(2154)
    box = (651_000, 6_861_000, 652_000, 6_862_000)
    elsewhere = footprint(32633, box)
    assert degrees_from_home(france, elsewhere) > 3


RING = [[8.0, 47.0], [8.1, 47.0], [8.1, 47.1], [8.0, 47.0]]
PLACED = "Longitude and latitude on WGS 84."


def collection(*coordinates: Any, kind: str = "Polygon", are: str = PLACED) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "coordinates_are": are,
        "features": [
            {"type": "Feature", "geometry": {"type": kind, "coordinates": one}, "properties": {}}
            for one in coordinates
        ],
    }


def of_boundary(folder: Path, content: dict[str, Any]) -> Footprint | None:
    path = folder / "boundary.geojson"
    path.write_text(json.dumps(content))
    return footprint_of_boundary(path)


def test_a_boundary_is_the_footprint_itself(tmp_path: Path) -> None:
    found = of_boundary(tmp_path, collection([RING]))
    assert found == Footprint({"type": "Polygon", "coordinates": [RING]}, (8.0, 47.0, 8.1, 47.1))
    other = [[x + 1, y] for x, y in RING]
    both = of_boundary(tmp_path, collection([RING], [other]))
    assert both is not None
    assert both.geometry == {"type": "MultiPolygon", "coordinates": [[RING], [other]]}
    assert both.bbox == (8.0, 47.0, 9.1, 47.1)


@pytest.mark.parametrize(
    "content",
    [
        collection(),
        collection(RING, kind="LineString"),
        collection([RING], are="Those of the cloud."),
        collection([RING * 1001]),
        collection([[[-179.0, 0.0], [179.0, 0.0], [179.0, 1.0], [-179.0, 0.0]]]),
        collection([[[500.0, 0.0], [501.0, 0.0], [501.0, 1.0], [500.0, 0.0]]]),
    ],
    ids=["empty", "lines", "another system", "too detailed", "across the date line", "nowhere"],
)
def test_a_boundary_that_is_no_good_footprint_is_none(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    assert of_boundary(tmp_path, content) is None

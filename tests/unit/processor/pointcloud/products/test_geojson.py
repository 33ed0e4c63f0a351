"""Features that any map can show."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.processor.pointcloud.las.crs import CloudCrs, find_crs
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.mill import Milled
from services.processor.pointcloud.products.geojson import Feature, write_features
from services.processor.pointcloud.products.kind import Cloud, Settings

CORNER = np.array([500_000.0, 4_000_000.0])
SQUARE = np.array([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]) + CORNER


@pytest.fixture
def cloud(write_cloud: Callable[..., Path], mill_file: Callable[..., Milled]) -> Cloud:
    path = write_cloud()
    source = read_source(path)
    milled = mill_file(path)
    return Cloud(source, find_crs(source, "EPSG:25832+5783"), milled, path, path, Settings())


def written(cloud: Cloud, path: Path, *features: Feature) -> dict[str, Any]:
    write_features(path, features, cloud, {"unit": "metre"})
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_coordinates_are_longitude_and_latitude(cloud: Cloud, tmp_path: Path) -> None:
    collection = written(cloud, tmp_path / "x.json", Feature("LineString", SQUARE, {"a": 1}))
    assert collection["type"] == "FeatureCollection"
    assert collection["unit"] == "metre"
    (feature,) = collection["features"]
    assert feature["type"] == "Feature"
    assert feature["properties"] == {"a": 1}
    assert feature["geometry"]["type"] == "LineString"
    line = feature["geometry"]["coordinates"]
    # On the central meridian of zone 32; one metre north is about 9e-6 degrees.
    assert line[0] == [9.0, pytest.approx(36.1441, abs=1e-3)]
    assert line[3][1] - line[0][1] == pytest.approx(10 / 111_000, rel=0.01)
    assert "WGS 84" in collection["coordinates_are"]
    assert "crs" not in collection


def test_nested_geometries_keep_their_nesting(cloud: Cloud, tmp_path: Path) -> None:
    hole = SQUARE[::-1] * 1.0
    collection = written(cloud, tmp_path / "x.json", Feature("MultiPolygon", [[SQUARE, hole]], {}))
    ((outer, inner),) = collection["features"][0]["geometry"]["coordinates"]
    assert outer == inner[::-1]
    assert outer[0] == outer[-1]


@pytest.mark.parametrize(
    "crs", [CloudCrs("none"), CloudCrs("geotiff"), CloudCrs("wkt_vlr", wkt="PROJCS[oh", name="oh")]
)
def test_an_unknown_system_leaves_coordinates_as_they_are_and_says_so(
    cloud: Cloud, tmp_path: Path, crs: CloudCrs
) -> None:
    unknown = replace(cloud, crs=crs)
    collection = written(unknown, tmp_path / "x.json", Feature("LineString", SQUARE + 0.12349, {}))
    assert collection["features"][0]["geometry"]["coordinates"][0] == [500_000.123, 4_000_000.123]
    assert "unknown" in collection["coordinates_are"]


def test_a_place_off_the_globe_leaves_all_coordinates_as_they_are(
    cloud: Cloud, tmp_path: Path
) -> None:
    far = np.vstack([SQUARE, [[1e9, 1e9]]])
    features = [Feature("LineString", line, {}) for line in (SQUARE, far)]
    collection = written(cloud, tmp_path / "x.json", *features)
    lines = [feature["geometry"]["coordinates"] for feature in collection["features"]]
    assert lines == [SQUARE.tolist(), far.tolist()]
    assert "not defined" in collection["coordinates_are"]


def test_heights_do_not_hinder(cloud: Cloud, tmp_path: Path) -> None:
    for code in ("EPSG:25832", "EPSG:25832+5783", "EPSG:4326", "EPSG:2994"):
        there = replace(cloud, crs=find_crs(cloud.source, code))
        collection = written(there, tmp_path / "x.json", Feature("LineString", SQUARE, {}))
        assert collection["features"]

"""item.json: valid by the official schemas as an outside validator reads them, and honest."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest

from services.processor.pointcloud.las.crs import find_crs
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.proof.item import EXTENSIONS
from tests.fixtures.corpus import corpus_or_skip
from tests.fixtures.stac_items import faults_of
from tests.unit.processor.pointcloud.conftest import WriteCloud
from tests.unit.processor.pointcloud.ingesting import ingest, read_product

QUICK = {"products": ["info"]}


def item_of(source: Path, folder: Path, **params: object) -> dict[str, Any]:
    return read_product(ingest(source, folder, **{**QUICK, **params}), "item")


def valid_item(source: Path, folder: Path, **params: object) -> dict[str, Any]:
    item = item_of(source, folder, **params)
    assert faults_of(item) is None
    return item


def dated(source: Path, *, standard: bool = True, year: int = 2024, day: int = 60) -> Path:
    """The file with this date, and this way of counting GPS time, in its header."""
    data = bytearray(source.read_bytes())
    data[6] = data[6] & 0xFE | standard
    data[90:94] = np.array([day, year], "<u2").tobytes()
    source.write_bytes(data)
    return source


def test_the_validator_would_notice(write_cloud: WriteCloud, tmp_path: Path) -> None:
    item = valid_item(write_cloud(), tmp_path, crs="EPSG:25832")
    broken: dict[str, Any]
    for broken in (
        {"pc:count": -1},
        {"pc:encoding": "laz"},
        {"pc:statistics": []},
        {"proj:code": 25832},
        {"proj:bbox": [1, 2]},
        {"processing:software": "Pointmill"},
        {"datetime": None},
        {"datetime": "yesterday"},
    ):
        changed = copy.deepcopy(item)
        changed["properties"].pop("start_datetime", None)
        changed["properties"].update(broken)
        assert faults_of(changed) is not None, broken
    item["assets"]["copc"]["file:checksum"] = "1220ABC"
    assert faults_of(item) is not None


def test_an_item_says_where_the_cloud_lies_and_what_is_in_it(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    item = valid_item(write_cloud(point_format=7), tmp_path, crs="EPSG:32633+5703")
    assert item["stac_extensions"] == list(EXTENSIONS)
    west, south, east, north = item["bbox"]
    # The middle of UTM zone 33, 500 000 m east of nothing.
    assert (round(west, 3), round(east, 3)) == (15.0, 15.001)
    assert 36 < south < north < 37
    properties = item["properties"]
    assert properties["pc:count"] == 1000
    assert properties["pc:type"] == "lidar"
    assert properties["proj:code"] == "EPSG:32633"
    assert properties["proj:wkt2"].startswith("COMPOUNDCRS[")
    assert len(properties["proj:bbox"]) == 6
    assert properties["proj:geometry"]["type"] == "Polygon"
    names = [schema["name"] for schema in properties["pc:schemas"]]
    assert names[:3] == ["X", "Y", "Z"]
    assert names[-4:] == ["GpsTime", "Red", "Green", "Blue"]
    statistics = {one["name"]: one for one in properties["pc:statistics"]}
    assert statistics["X"]["minimum"] == properties["proj:bbox"][0]
    assert statistics["Classification"]["maximum"] == 6
    assert names[statistics["GpsTime"]["position"]] == "GpsTime"


def test_every_product_is_an_asset_beside_the_item(write_cloud: WriteCloud, tmp_path: Path) -> None:
    outcome = ingest(write_cloud(), tmp_path, crs="EPSG:25832")
    item = read_product(outcome, "item")
    assert faults_of(item) is None
    made = {product.name: product for product in outcome.products if product.name != "item"}
    assert set(item["assets"]) == set(made)
    for name, asset in item["assets"].items():
        path = made[name].path
        assert (path.parent / asset["href"]).samefile(path)
        assert asset["type"] == made[name].media_type
        assert asset["roles"]
        assert asset["title"]
        if name != "certificate":
            assert asset["file:size"] == path.stat().st_size
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert asset["file:checksum"] == f"1220{digest}"


def test_a_retry_makes_the_same_item(write_cloud: WriteCloud, tmp_path: Path) -> None:
    source = write_cloud()
    first, second = (
        json.dumps(item_of(source, tmp_path / name, crs="EPSG:25832")) for name in ("one", "two")
    )
    assert first == second


def test_points_alone_are_enough_for_an_item(write_cloud: WriteCloud, tmp_path: Path) -> None:
    properties = valid_item(write_cloud(), tmp_path, products=[])["properties"]
    assert [one["name"] for one in properties["pc:statistics"]] == ["X", "Y", "Z", "Classification"]
    assert "pc:density" not in properties


def test_standard_gps_times_tell_when_the_points_were_captured(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    properties = valid_item(dated(write_cloud()), tmp_path)["properties"]
    # GPS times from 1e8 on, a tenth of a second of them.
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "2014-11-14T11:33:04Z"
    assert properties["end_datetime"] == "2014-11-14T11:33:04.099Z"


@pytest.mark.parametrize(
    ("year", "date", "said"),
    [
        (2024, {"datetime": "2024-02-29T00:00:00Z"}, "date is that of the source file"),
        (
            0,
            {
                "datetime": None,
                "start_datetime": "1980-01-06T00:00:00Z",
                "end_datetime": "9999-12-31T23:59:59Z",
            },
            "Nothing tells when",
        ),
    ],
)
def test_without_them_the_date_of_the_file_is_taken_and_said_to_be_so(
    write_cloud: WriteCloud, tmp_path: Path, year: int, date: dict[str, str | None], said: str
) -> None:
    source = dated(write_cloud(), standard=False, year=year)
    properties = valid_item(source, tmp_path)["properties"]
    assert {name: properties.get(name) for name in date} == date
    assert said in properties["description"]


def test_a_cloud_that_nobody_can_place_has_neither_geometry_nor_box(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    item = valid_item(write_cloud(), tmp_path)
    assert item["geometry"] is None
    assert "bbox" not in item
    assert item["properties"]["proj:code"] is None
    assert "proj:wkt2" not in item["properties"]
    assert "is not known" in item["properties"]["description"]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4978"])
def test_coordinates_that_cannot_be_those_of_their_system_have_no_place(
    write_cloud: WriteCloud, tmp_path: Path, crs: str
) -> None:
    item = valid_item(write_cloud(), tmp_path, crs=crs)
    assert (item["geometry"] is None) == ("bbox" not in item)
    if crs == "EPSG:4326":
        assert "have no place on the globe" in item["properties"]["description"]


@pytest.mark.parametrize(
    ("crs", "code"),
    [
        ("EPSG:4326", "crs_contradicts_bounds"),
        ("EPSG:2154", "crs_improbable"),
        ("EPSG:32633", None),
    ],
)
def test_a_coordinate_system_that_cannot_be_right_is_warned_of(
    write_cloud: WriteCloud, tmp_path: Path, crs: str, code: str | None
) -> None:
    outcome = ingest(write_cloud(), tmp_path, crs=crs, **QUICK)
    warnings = {
        warning["code"]: warning["message"]
        for warning in read_product(outcome, "certificate")["warnings"]
    }
    about = {"crs_contradicts_bounds", "crs_improbable"} & set(warnings)
    assert about == ({code} if code else set())
    assert all("parameter `crs`" in warnings[one] for one in about)


def test_an_empty_cloud_is_an_item_without_a_place(tmp_path: Path) -> None:
    path = tmp_path / "empty.las"
    laspy.LasData(laspy.LasHeader(point_format=6, version="1.4")).write(path)
    item = valid_item(path, tmp_path, crs="EPSG:25832")
    assert item["geometry"] is None
    assert item["properties"]["pc:count"] == 0
    assert "proj:bbox" not in item["properties"]
    assert "pc:statistics" not in item["properties"]


def test_extra_dimensions_are_among_the_others(write_cloud: WriteCloud, tmp_path: Path) -> None:
    extra = (
        laspy.ExtraBytesParams("Amplitude", "uint16", scales=[0.01], offsets=[0.0]),
        laspy.ExtraBytesParams("Deviation", "int16"),
    )
    properties = valid_item(write_cloud(point_format=6, extra=extra), tmp_path)["properties"]
    assert properties["pc:schemas"][-2:] == [
        {"name": "Amplitude", "size": 8, "type": "floating"},
        {"name": "Deviation", "size": 2, "type": "signed"},
    ]
    assert properties["pc:statistics"][-1]["name"] == "Deviation"


def test_the_name_of_a_file_makes_a_plain_id(write_cloud: WriteCloud, tmp_path: Path) -> None:
    source = write_cloud("Höhe/../ 7.COPC.LAZ".replace("/", "_"))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert item_of(source, tmp_path)["id"] == f"H-he_.._-7-{digest[:12]}"


@pytest.mark.corpus
def test_the_items_of_real_files_are_valid(tmp_path: Path) -> None:
    files = [file for file in corpus_or_skip("valid", "odd") if file.path.stat().st_size < 100_000]
    placed = 0
    for number, file in enumerate(files[::3]):
        item = item_of(file.path, tmp_path / str(number))
        assert faults_of(item) is None, file.name
        known = find_crs(read_source(file.path)).name is not None
        placed += item["geometry"] is not None
        assert known or item["geometry"] is None, file.name
    assert placed > 12

"""Which coordinate system a cloud is in, and who is believed."""

import struct
from collections.abc import Callable
from pathlib import Path

import laspy
import pytest
from pyproj import CRS

from services.processor.pointcloud.las.crs import CloudCrs, find_crs
from services.processor.pointcloud.las.source import read_source
from shared.errors import TaskFailed

WriteCloud = Callable[..., Path]


def geotiff(keys: dict[int, int]) -> laspy.VLR:
    directory = [value for key, code in keys.items() for value in (key, 0, 1, code)]
    payload = struct.pack(f"<{4 + len(directory)}H", 1, 1, 0, len(keys), *directory)
    return laspy.VLR("LASF_Projection", 34735, "", payload)


def wkt(text: str, user_id: str = "LASF_Projection") -> laspy.VLR:
    return laspy.VLR(user_id, 2112, "", text.encode() + b"\0")


def crs_of(write_cloud: WriteCloud, *records: laspy.VLR, point_format: int = 3) -> CloudCrs:
    def add(las: laspy.LasData) -> None:
        las.vlrs.extend(records)

    return find_crs(read_source(write_cloud(point_format=point_format, change=add)))


def codes(crs: CloudCrs) -> list[str]:
    return [oddity.code for oddity in crs.oddities]


UTM32 = CRS.from_epsg(25832).to_wkt("WKT1_GDAL")
UTM33 = CRS.from_epsg(25833).to_wkt("WKT1_GDAL")


def test_a_cloud_that_says_nothing_has_no_system(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud)
    assert (crs.found, crs.wkt, codes(crs)) == ("none", None, ["no_crs"])


def test_geotiff_keys_become_wkt(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud, geotiff({1024: 1, 3072: 25832}))
    assert (crs.found, crs.epsg, crs.unit, crs.geographic) == ("geotiff", 25832, "metre", False)
    assert crs.wkt is not None
    assert CRS.from_wkt(crs.wkt) == CRS.from_epsg(25832)
    assert crs.proj4 is not None
    assert "+proj=utm +zone=32" in crs.proj4


def test_heights_are_part_of_the_system(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud, geotiff({1024: 1, 3072: 25832, 4096: 7837}))
    assert (crs.epsg, crs.vertical_epsg, crs.vertical_unit) == (25832, 7837, "metre")


@pytest.mark.parametrize(("unit", "code"), [(9001, 5703), (9002, 8228), (9003, 6360)])
def test_american_heights_in_feet_are_told_from_those_in_metres(
    write_cloud: WriteCloud, unit: int, code: int
) -> None:
    crs = crs_of(write_cloud, geotiff({1024: 1, 3072: 2903, 4096: 5103, 4099: unit}))
    assert crs.vertical_epsg == code


def test_heights_that_do_not_exist_are_named(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud, geotiff({1024: 1, 3072: 25832, 4096: 32767}))
    assert (crs.epsg, codes(crs)) == (25832, ["vertical_crs_unresolved"])


def test_degrees_are_recognised(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud, geotiff({1024: 2, 2048: 4326}))
    assert (crs.epsg, crs.geographic, crs.unit) == (4326, True, "degree")


@pytest.mark.parametrize("code", [32767, 9999, 65000])
def test_keys_that_lead_nowhere_are_named(write_cloud: WriteCloud, code: int) -> None:
    crs = crs_of(write_cloud, geotiff({1024: 1, 3072: code}))
    assert (crs.found, crs.wkt, codes(crs)) == ("geotiff", None, ["crs_unresolved"])


def test_keys_are_believed_before_wkt_in_old_formats(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud, wkt(UTM33, "liblas"), geotiff({1024: 1, 3072: 25832}))
    assert (crs.found, crs.epsg) == ("geotiff", 25832)


def test_wkt_is_believed_before_keys_in_new_formats(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud, geotiff({1024: 1, 3072: 25832}), wkt(UTM33), point_format=6)
    assert (crs.found, crs.epsg) == ("wkt_vlr", 25833)


def test_wkt_steps_in_where_keys_lead_nowhere(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud, geotiff({1024: 1, 3072: 32767}), wkt(UTM32, "liblas"))
    assert (crs.found, crs.epsg, codes(crs)) == ("wkt_vlr", 25832, ["crs_unresolved"])


def test_wkt_is_handed_on_word_for_word_even_if_it_makes_no_sense(write_cloud: WriteCloud) -> None:
    crs = crs_of(write_cloud, wkt("PROJCS[broken"), point_format=6)
    assert (crs.wkt, crs.name, codes(crs)) == ("PROJCS[broken", None, ["crs_unreadable"])


@pytest.mark.parametrize("choice", ["EPSG:25832", UTM32])
def test_the_caller_can_overrule_the_file_and_it_is_said(
    write_cloud: WriteCloud, choice: str
) -> None:
    path = write_cloud(point_format=6, change=lambda las: las.vlrs.append(wkt(UTM33)))
    crs = find_crs(read_source(path), choice)
    assert (crs.found, crs.epsg, codes(crs)) == ("parameter", 25832, ["crs_overridden"])
    assert "zone 33N" in crs.oddities[0].message


def test_a_system_that_does_not_exist_is_refused(write_cloud: WriteCloud) -> None:
    with pytest.raises(TaskFailed) as failure:
        find_crs(read_source(write_cloud()), "EPSG:1")
    assert failure.value.code == "crs_unknown"

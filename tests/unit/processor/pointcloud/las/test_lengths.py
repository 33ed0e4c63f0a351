"""How many metres a unit is, and who says so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.processor.pointcloud.las.crs import CloudCrs, find_crs
from services.processor.pointcloud.las.lengths import Lengths, lengths_of
from services.processor.pointcloud.las.source import read_source

FOOT, SURVEY_FOOT = 0.3048, 1200 / 3937


@pytest.mark.parametrize(
    ("code", "across", "up", "stated"),
    [
        ("EPSG:25832", 1, 1, False),
        ("EPSG:25832+5783", 1, 1, True),
        ("EPSG:2994", FOOT, FOOT, False),
        ("EPSG:2994+5703", FOOT, 1, True),
        ("EPSG:2263+6360", SURVEY_FOOT, SURVEY_FOOT, True),
        ("EPSG:26915+8228", 1, FOOT, True),
        ("EPSG:4326", 1, 1, False),
        ("EPSG:4979", 1, 1, True),
    ],
)
def test_units_are_those_of_the_coordinate_system(
    write_cloud: Callable[..., Path], code: str, across: float, up: float, stated: bool
) -> None:
    lengths = lengths_of(find_crs(read_source(write_cloud()), code))
    assert lengths.across == pytest.approx(across)
    assert lengths.up == pytest.approx(up)
    assert lengths.upright
    assert (not lengths.assumed) == stated


def test_an_unknown_system_is_taken_for_metres_and_that_is_said() -> None:
    for crs in (CloudCrs("none"), CloudCrs("wkt_vlr", wkt="PROJCS[", name="oh")):
        lengths = lengths_of(crs)
        assert lengths == Lengths(assumed=lengths.assumed)
        assert "metres" in lengths.assumed[0]


def test_geocentric_coordinates_have_no_height(write_cloud: Callable[..., Path]) -> None:
    assert not lengths_of(find_crs(read_source(write_cloud()), "EPSG:4978")).upright

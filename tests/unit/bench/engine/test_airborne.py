"""The cloud of the bench: the same every time, like one from a plane, made in constant memory."""

from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest

from tests.bench.engine import airborne
from tests.bench.engine.airborne import airborne_blocks, write_airborne

POINTS = 60_001
MakeCloud = Callable[..., laspy.LasData]


@pytest.fixture
def make_cloud(tmp_path: Path) -> MakeCloud:
    """Write a cloud and read it again."""

    def make(points: int = POINTS, point_format: int = 7, seed: int = 7) -> laspy.LasData:
        path = tmp_path / "cloud.laz"
        write_airborne(path, points, point_format, seed)
        return laspy.read(path)

    return make


def test_a_seed_makes_the_same_file_every_time_and_another_one_another(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_airborne(tmp_path / f"{name}.laz", 20_000, seed=seed)
    one, again, other = (
        (tmp_path / f"{name}.laz").read_bytes() for name in ("one", "again", "other")
    )
    assert one == again
    assert one != other


@pytest.mark.parametrize("point_format", [6, 7, 8])
def test_the_file_says_what_it_holds(make_cloud: MakeCloud, point_format: int) -> None:
    cloud = make_cloud(point_format=point_format)
    header = cloud.header
    assert (len(cloud), header.point_format.id, str(header.version)) == (
        POINTS,
        point_format,
        "1.4",
    )
    assert header.scales.tolist() == [0.001] * 3
    assert header.parse_crs().to_epsg() == 32633


@pytest.mark.parametrize("points", [0, 1, 7, 1000])
def test_a_cloud_may_be_small(make_cloud: MakeCloud, points: int) -> None:
    assert len(make_cloud(points)) == points


def test_there_are_about_ten_points_on_a_square_metre(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    width, depth, _ = cloud.header.maxs - cloud.header.mins
    assert POINTS / (width * depth) == pytest.approx(10, rel=0.02)


def test_strips_of_scan_lines_follow_one_another_in_time(make_cloud: MakeCloud) -> None:
    cloud = make_cloud()
    assert np.unique(cloud.point_source_id).tolist() == [1, 2, 3, 4, 5]
    assert (np.diff(cloud.point_source_id.astype(int)) >= 0).all()
    assert (np.diff(cloud.gps_time) > 0).all()
    lines = np.flatnonzero(np.diff(np.array(cloud.scan_direction_flag, int)))
    assert 100 < len(lines) < 2000
    assert np.count_nonzero(cloud.edge_of_flight_line) == pytest.approx(len(lines), abs=5)


def test_houses_and_trees_stand_on_the_ground_and_beams_return_more_than_once(
    make_cloud: MakeCloud,
) -> None:
    cloud = make_cloud()
    classes = np.bincount(cloud.classification, minlength=7)
    assert classes[:2].tolist() == [0, 0]
    assert classes.argmax() == airborne.GROUND
    assert (classes[2:] > POINTS // 500).all()
    returns, of = np.array(cloud.return_number), np.array(cloud.number_of_returns)
    assert (returns <= of).all()
    assert np.unique(of).tolist() == [1, 2, 3, 4]
    assert np.ptp(cloud.z) > 40
    assert all(np.ptp(cloud[name]) > 10_000 for name in ("red", "green", "blue"))


def test_a_large_cloud_is_made_in_blocks_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airborne, "_BLOCK", 1000)
    header = laspy.LasHeader(point_format=6, version="1.4")
    sizes = [len(block) for block in airborne_blocks(header, POINTS)]
    assert sum(sizes) == POINTS
    assert max(sizes) == 1000

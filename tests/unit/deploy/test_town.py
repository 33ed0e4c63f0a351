"""The demo's town is the same every time, and a cloud worth looking at."""

from pathlib import Path

import laspy
import numpy as np
import pytest

from deploy.local import town


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("town") / "town.laz"
    town.write(path)
    return path


def test_the_town_is_the_same_every_time(path: Path, tmp_path: Path) -> None:
    town.write(tmp_path / "again.laz")
    assert (tmp_path / "again.laz").read_bytes() == path.read_bytes()


def test_the_town_has_colours_classes_and_a_reference_system(path: Path) -> None:
    cloud = laspy.read(path)
    assert 250_000 < len(cloud.points) < 400_000
    kinds = {town.GROUND, town.TREE, town.BUILDING, town.WATER, town.ROAD}
    assert set(np.unique(cloud.classification)) == kinds
    assert cloud.red.max() > 40_000
    crs = cloud.header.parse_crs()
    assert crs is not None
    assert crs.to_epsg() == 25832


def test_no_half_town_is_left_behind(path: Path) -> None:
    assert [each.name for each in path.parent.iterdir()] == ["town.laz"]

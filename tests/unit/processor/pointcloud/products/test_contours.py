"""Contour lines for maps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.processor.pointcloud.products import contours
from services.processor.pointcloud.products.kind import Cloud, NotApplicable, Settings
from tests.unit.processor.pointcloud.products.conftest import (
    CORNER,
    MakeCloud,
    WriteLandscape,
    ground_at,
)


def written(cloud: Cloud, path: Path) -> dict[str, Any]:
    contours.write(cloud, path)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_lines_follow_the_ground_in_ten_to_twenty_five_levels(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    cloud = make_cloud(write_landscape(), "ground", resolution=1.0, crs=None)
    collection = written(cloud, tmp_path / "lines.json")
    assert (collection["interval"], collection["unit"]) == (1.0, None)
    assert "unknown" in collection["coordinates_are"]
    levels = {feature["properties"]["elevation"] for feature in collection["features"]}
    assert 10 <= len(levels) <= 25
    for feature in collection["features"]:
        assert feature["geometry"]["type"] == "LineString"
        elevation = feature["properties"]["elevation"]
        assert feature["properties"]["index"] == (elevation % 5 == 0)
        x, y = (np.array(feature["geometry"]["coordinates"]) - CORNER).T
        open_air = ~((x > 36) & (x < 74) & (y > 46) & (y < 94))
        assert np.abs(ground_at(x, y) - elevation)[open_air].max(initial=0) < 0.4


def test_a_known_system_gives_longitude_and_latitude(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    settings = Settings(contour_interval=2.5)
    cloud = make_cloud(write_landscape(), "ground", settings=settings)
    collection = written(cloud, tmp_path / "lines.json")
    assert (collection["interval"], collection["unit"]) == (2.5, "metre")
    assert {f["properties"]["elevation"] % 2.5 for f in collection["features"]} == {0}
    longitude, latitude = np.concatenate(
        [feature["geometry"]["coordinates"] for feature in collection["features"]]
    ).T
    assert (np.abs(longitude - 9) < 0.01).all()
    assert (np.abs(latitude - 36.14) < 0.01).all()


@pytest.mark.parametrize(("interval", "sentence"), [(0.001, "larger"), (500.0, "no contour line")])
def test_an_interval_that_draws_nothing_or_everything_is_answered(
    write_landscape: WriteLandscape,
    make_cloud: MakeCloud,
    tmp_path: Path,
    interval: float,
    sentence: str,
) -> None:
    settings = Settings(contour_interval=interval)
    cloud = make_cloud(write_landscape(), "ground", settings=settings)
    with pytest.raises(NotApplicable, match=sentence):
        contours.write(cloud, tmp_path / "lines.json")


def test_lines_are_the_same_each_time(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    path = write_landscape(classified=False)
    for workers in (1, 2):
        contours.write(make_cloud(path, "ground", workers=workers), tmp_path / f"{workers}.json")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()

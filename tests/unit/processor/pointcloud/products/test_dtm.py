"""The bare ground as a raster."""

from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from services.processor.pointcloud.ground.account import account_for_ground
from services.processor.pointcloud.products import dtm
from services.processor.pointcloud.products.kind import Cloud, NotApplicable
from tests.unit.processor.pointcloud.products.conftest import (
    CORNER,
    MakeCloud,
    WriteLandscape,
    ground_at,
)

FOOT = 0.3048


def written(cloud: Cloud, path: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    """The raster's facts, its heights and its validity."""
    dtm.write(cloud, path)
    with rasterio.open(path) as raster:
        return raster.profile | {"units": raster.units}, raster.read(1), raster.read(2)


def error(heights: np.ndarray, profile: Any, scale: float = 1.0) -> np.ndarray:
    """How far the heights are from the truth, in metres."""
    row, column = np.mgrid[: heights.shape[0], : heights.shape[1]] + 0.5
    x, y = profile["transform"] @ (column, row)
    truth = ground_at((x - CORNER[0]) * scale, (y - CORNER[1]) * scale)
    difference: np.ndarray = np.abs(heights * scale - truth)
    return difference


@pytest.mark.parametrize("classified", [True, False])
def test_halls_and_trees_are_gone_and_the_ground_below_is_told_from_what_was_measured(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path, classified: bool
) -> None:
    cloud = make_cloud(write_landscape(classified=classified), "ground", resolution=1.0)
    profile, heights, validity = written(cloud, tmp_path / "dtm.tif")
    assert cog_validate(str(tmp_path / "dtm.tif"), strict=True, quiet=True)[0]
    assert profile["units"][0] == "metre"
    assert profile["crs"].to_wkt().startswith("COMPD_CS")
    assert (np.isnan(heights) == (validity == 0)).all()
    measured = validity == 1
    wrong = error(heights, profile)
    assert np.quantile(wrong[measured], 0.99) < 0.2
    assert wrong[measured].max() < 1
    # The hall's floor, rows counted from the north.
    under = (slice(120 - 85, 120 - 55), slice(45, 65))
    assert (validity[under] == 2).all()
    assert wrong[under].max() < 2.5
    described = account_for_ground(cloud)
    assert described is not None
    assert described.by == ("source" if classified else "filter")
    assert 30_000 < (described.points or 0) < 50_000


def test_feet_are_converted_for_the_filter_and_kept_in_the_raster(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    path = write_landscape(classified=False, scale=FOOT)
    cloud = make_cloud(path, "ground", resolution=5.0, crs="EPSG:2994")
    profile, heights, validity = written(cloud, tmp_path / "dtm.tif")
    assert profile["units"][0] == "foot"
    assert heights[validity > 0].min() > 88 / FOOT
    assert np.quantile(error(heights, profile, FOOT)[validity == 1], 0.99) < 0.3
    described = account_for_ground(cloud)
    assert described is not None
    assert described.filter is not None
    assert described.filter.cell_in_metres == pytest.approx(1.0)
    assert described.assumed == ["The unit of the heights is not stated; it is taken for foot."]


def test_an_unknown_unit_is_taken_for_a_metre_and_that_is_said(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    cloud = make_cloud(write_landscape(classified=False), "ground", crs=None)
    profile, heights, validity = written(cloud, tmp_path / "dtm.tif")
    assert profile["crs"] is None
    assert np.quantile(error(heights, profile)[validity == 1], 0.99) < 0.3
    described = account_for_ground(cloud)
    assert described is not None
    assert "taken for metres" in described.assumed[0]


def test_the_same_bytes_come_from_one_process_and_from_several(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    path = write_landscape(classified=False)
    for workers in (1, 2):
        cloud = make_cloud(path, "ground", workers=workers)
        dtm.write(cloud, tmp_path / f"{workers}.tif")
        dtm.write(cloud, tmp_path / f"{workers}-again.tif")
    first, *others = (file.read_bytes() for file in sorted(tmp_path.glob("*.tif")))
    assert len(others) == 3
    assert all(other == first for other in others)


def some_points(path: Path, places: np.ndarray, number: int = 0) -> Path:
    las = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    las.header.scales = [0.01] * 3
    las.x, las.y, las.z = places.T if len(places) else np.empty((3, 0))
    las.classification = np.full(len(places), number, np.uint8)
    las.write(path)
    return path


@pytest.mark.parametrize(
    ("places", "sentence"),
    [
        (np.empty((0, 3)), "no points"),
        (np.array([[3.0, 4.0, 5.0]]), "square metres"),
        (np.column_stack([np.arange(50) / 10, np.zeros(50), np.zeros(50)]), "square metres"),
        (np.random.default_rng(1).random((9000, 3)) * (4, 6, 2.5), "square metres"),
    ],
)
def test_a_cloud_too_small_for_a_filter_has_no_terrain_and_it_is_said_why(
    make_cloud: MakeCloud, tmp_path: Path, places: np.ndarray, sentence: str
) -> None:
    cloud = make_cloud(some_points(tmp_path / "few.las", places), "ground")
    with pytest.raises(NotApplicable, match=sentence):
        dtm.write(cloud, tmp_path / "dtm.tif")
    assert not (tmp_path / "dtm.tif").exists()


def test_a_single_point_of_ground_is_a_terrain_of_one_cell(
    make_cloud: MakeCloud, tmp_path: Path
) -> None:
    cloud = make_cloud(some_points(tmp_path / "one.las", np.array([[3.0, 4, 5]]), 2), "ground")
    _, heights, validity = written(cloud, tmp_path / "dtm.tif")
    assert (heights.tolist(), validity.tolist()) == ([[5.0]], [[1.0]])


def test_noise_draws_no_ground_down(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    path = write_landscape(classified=False)
    las = laspy.read(path)
    random = np.random.default_rng(2)
    low = random.choice(len(las), 3000, replace=False)
    z = np.asarray(las.z).copy()
    z[low] -= 60
    las.z = z
    las.classification[low[:1500]] = 7
    las.withheld[low[1500:]] = 1
    las.write(path)
    cloud = make_cloud(path, "ground", resolution=1.0)
    profile, heights, validity = written(cloud, tmp_path / "dtm.tif")
    assert np.quantile(error(heights, profile)[validity == 1], 0.99) < 0.2


def test_geocentric_coordinates_have_no_terrain(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path
) -> None:
    for classified in (True, False):
        cloud = make_cloud(write_landscape(classified=classified), "ground", crs="EPSG:4978")
        with pytest.raises(NotApplicable, match="geocentric"):
            dtm.write(cloud, tmp_path / "dtm.tif")


@pytest.mark.parametrize("workers", [1, 2])
def test_points_that_nobody_has_classified_can_be_classified(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, workers: int
) -> None:
    path = write_landscape(classified=False)
    las = laspy.read(path)
    las.classification[:100] = 1
    las.classification[100:200] = 9
    las.write(path)
    cloud = make_cloud(path, classify_ground=True, workers=workers)
    after = laspy.read(cloud.copc)
    numbers, counts = np.unique(after.classification, return_counts=True)
    assert numbers.tolist() == [1, 2, 9]
    assert counts[2] == 100
    x, y, z = (np.asarray(after[name]) for name in ("x", "y", "z"))
    truth = np.abs(z - ground_at(x - CORNER[0], y - CORNER[1])) < 1
    open_to = after.classification != 9
    assert ((after.classification == 2) == truth)[open_to].mean() > 0.99
    assert cloud.milled.tally.counted["classification"][2] == counts[1]
    # All that were 0, and those that were 1 and are 2 now.
    assert len(after) - 200 <= cloud.milled.reclassified <= len(after) - 100
    described = account_for_ground(cloud)
    assert described is not None
    assert described.points_reclassified == cloud.milled.reclassified


def test_a_source_that_says_what_is_ground_is_not_contradicted(
    write_landscape: WriteLandscape, make_cloud: MakeCloud
) -> None:
    cloud = make_cloud(write_landscape(), "ground", classify_ground=True)
    assert cloud.milled.reclassified == 0
    assert np.array_equal(cloud.milled.source_classes, cloud.milled.tally.counted["classification"])

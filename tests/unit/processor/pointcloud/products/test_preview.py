"""The picture: the right size, north up, colours as they are, nothing where there is nothing."""

from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest
from PIL import Image

from services.processor.pointcloud.mill import Milled
from services.processor.pointcloud.products.preview import draw_preview

WriteCloud = Callable[..., Path]
MillFile = Callable[..., Milled]


def picture_of(milled: Milled, tmp_path: Path, size: int = 128) -> np.ndarray:
    path = tmp_path / "preview.png"
    draw_preview(milled.surface, milled.sample, path, size)
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        return np.asarray(image).astype(int)


@pytest.mark.parametrize("points", [1, 2, 10, 399, 20_000])
def test_clouds_of_any_size_have_a_picture_of_the_size_asked_for(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, points: int
) -> None:
    picture = picture_of(mill_file(write_cloud(points=points)), tmp_path)
    assert max(picture.shape[:2]) == 128
    assert (picture[..., 3] == 255).any()


def test_an_empty_cloud_has_an_empty_picture(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    assert not picture_of(mill_file(write_cloud(points=0)), tmp_path).any()


def test_north_is_up_east_is_right_and_colours_stay(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    def quarters(las: laspy.LasData) -> None:
        east, north = las.X > 50_000, las.Y > 50_000
        las.Z = np.zeros(len(las.X), np.int32)
        las.red = np.where(north, 60_000, 1).astype(np.uint16)
        las.green = np.where(east, 60_000, 1).astype(np.uint16)
        las.blue = np.ones(len(las.X), np.uint16)

    source = write_cloud(points=40_000, change=quarters)
    picture = picture_of(mill_file(source), tmp_path)
    north_west, south_east = picture[16, 16], picture[110, 110]
    assert north_west[0] > north_west[1] + 100
    assert south_east[1] > south_east[0] + 100


def test_ground_without_points_is_transparent(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    def corner(las: laspy.LasData) -> None:
        las.Y = np.where(las.X > 50_000, las.Y // 4, las.Y)

    picture = picture_of(mill_file(write_cloud(points=60_000, change=corner)), tmp_path)
    assert picture[20, 100, 3] == 0
    assert picture[20, 20, 3] == 255

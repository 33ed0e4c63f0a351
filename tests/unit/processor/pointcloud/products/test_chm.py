"""How high things stand above the ground."""

from pathlib import Path

import laspy
import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from services.processor.pointcloud.products import chm
from services.processor.pointcloud.products.kind import NotApplicable
from tests.unit.processor.pointcloud.products.conftest import MakeCloud, WriteLandscape


@pytest.mark.parametrize("classified", [True, False])
def test_a_hall_is_twelve_high_and_trees_are_eight(
    write_landscape: WriteLandscape, make_cloud: MakeCloud, tmp_path: Path, classified: bool
) -> None:
    path = write_landscape(classified=classified)
    cloud = make_cloud(path, "ground", "surface", resolution=1.0)
    chm.write(cloud, tmp_path / "chm.tif")
    assert cog_validate(str(tmp_path / "chm.tif"), strict=True, quiet=True)[0]
    with rasterio.open(tmp_path / "chm.tif") as raster:
        heights, validity = raster.read(1), raster.read(2)
        assert raster.units[0] == "metre"
    assert (np.isnan(heights) == (validity == 0)).all()
    assert np.nanmin(heights) >= 0
    # Rows are counted from the north.
    hall, wood, meadow = heights[32:68, 42:68], heights[2:118, 84:118], heights[80:118, 2:78]
    assert np.abs(hall - 12).max() < 3
    assert np.abs(np.median(wood) - 8) < 0.5
    assert np.quantile(meadow, 0.99) < 0.6
    assert (validity[32:68, 42:68] == 2).all()
    assert (validity[80:118, 2:78] == 1).mean() > 0.9


def test_without_ground_there_are_no_heights_above_it(
    make_cloud: MakeCloud, tmp_path: Path
) -> None:
    las = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    las.x, las.y, las.z = np.random.default_rng(1).random((3, 500))
    las.write(tmp_path / "tiny.las")
    cloud = make_cloud(tmp_path / "tiny.las", "ground", "surface")
    with pytest.raises(NotApplicable, match="square metres"):
        chm.write(cloud, tmp_path / "chm.tif")

"""The rasters that people open elsewhere."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from services.processor.pointcloud.las.crs import CloudCrs, find_crs
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.mill import Milled
from services.processor.pointcloud.observed.frame import Frame
from services.processor.pointcloud.products.geotiff import Band, write_cog
from services.processor.pointcloud.products.kind import Cloud, Settings

FRAME = Frame(
    width=1300,
    height=1100,
    first_column=1_000_004,
    first_row=-8_001_000,
    cell_x=0.5,
    cell_y=0.5,
    cell=0.5,
    scales=(0.001, 0.001, 0.001),
    offsets=(0.0, 0.0, 0.0),
)


def some_cloud(path: Path, milled: Milled, crs: str | None) -> Cloud:
    """A cloud of which only the scales and the coordinate system matter."""
    source = read_source(path)
    found = find_crs(source, crs) if crs else CloudCrs("none")
    return Cloud(source, found, milled, path, path.parent, Settings())


@pytest.fixture
def cloud(write_cloud: Callable[..., Path], mill_file: Callable[..., Milled]) -> Cloud:
    path = write_cloud()
    return some_cloud(path, mill_file(path), "EPSG:25832+5783")


def bands() -> list[Band]:
    heights = np.random.default_rng(1).random((FRAME.height, FRAME.width)).astype(np.float32)
    heights[:40, :60] = np.nan
    validity = np.isfinite(heights).astype(np.uint8)
    return [Band("height", heights, np.nan, "metre"), Band("validity", validity)]


def test_rasters_are_cloud_optimised_and_leave_nothing_beside_them(
    cloud: Cloud, tmp_path: Path
) -> None:
    folder = tmp_path / "rasters"
    folder.mkdir()
    write_cog(folder / "grid.tif", bands(), FRAME, cloud)
    valid, errors, warnings = cog_validate(str(folder / "grid.tif"), strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    assert [path.name for path in folder.iterdir()] == ["grid.tif"]


def test_rasters_say_where_they_lie_and_what_they_hold(cloud: Cloud, tmp_path: Path) -> None:
    written = bands()
    write_cog(tmp_path / "grid.tif", written, FRAME, cloud)
    with rasterio.open(tmp_path / "grid.tif") as raster:
        assert raster.crs.to_wkt().startswith("COMPD_CS")
        assert raster.transform[:6] == (0.5, 0, 500_002, 0, -0.5, 4_000_500)
        assert raster.tags()["AREA_OR_POINT"] == "Area"
        assert raster.descriptions == ("height", "validity")
        assert raster.units[0] == "metre"
        assert np.isnan(raster.nodata)
        assert raster.overviews(1) == [2, 4]
        assert raster.profile["tiled"]
        assert raster.compression.value == "DEFLATE"
        assert np.array_equal(raster.read(1), written[0].values, equal_nan=True)
        assert np.array_equal(raster.read(2), written[1].values)


def test_the_same_grid_gives_the_same_bytes_whatever_the_environment(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cog(tmp_path / "first.tif", bands(), FRAME, cloud)
    monkeypatch.setenv("GDAL_NUM_THREADS", "ALL_CPUS")
    monkeypatch.setenv("GDAL_PAM_ENABLED", "YES")
    write_cog(tmp_path / "second.tif", bands(), FRAME, cloud)
    assert (tmp_path / "first.tif").read_bytes() == (tmp_path / "second.tif").read_bytes()


@pytest.mark.parametrize("known", [None, CloudCrs("wkt_vlr", wkt="PROJCS[oh")])
def test_without_a_coordinate_system_there_is_none_in_the_file(
    cloud: Cloud, tmp_path: Path, known: CloudCrs | None
) -> None:
    cloud = replace(cloud, crs=known or CloudCrs("none"))
    write_cog(tmp_path / "grid.tif", bands()[1:], FRAME, cloud)
    with rasterio.open(tmp_path / "grid.tif") as raster:
        assert raster.crs is None
        assert raster.dtypes == ("uint8",)
        assert raster.nodata is None
    assert not list(tmp_path.glob("*.xml"))


def test_feet_and_degrees_stay_what_they_are(cloud: Cloud, tmp_path: Path) -> None:
    for code, unit in (("EPSG:2994", "foot"), ("EPSG:4326", "degree")):
        there = replace(cloud, crs=find_crs(cloud.source, code))
        write_cog(tmp_path / "grid.tif", bands(), FRAME, there)
        with rasterio.open(tmp_path / "grid.tif") as raster:
            assert raster.crs.to_epsg() == int(code[5:])
            assert raster.crs.units_factor[0] == unit

"""Rasters and the outline of what is seen from above: right values at the right places."""

import json
from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest
import rasterio
from rasterio.io import DatasetReader

from services.processor.pointcloud.las.crs import find_crs
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.mill import Milled
from services.processor.pointcloud.products.catalogue import load_products
from services.processor.pointcloud.products.kind import Cloud, NotApplicable, Settings

WriteCloud = Callable[..., Path]
MakeProduct = Callable[..., Path]


@pytest.fixture
def make(write_cloud: WriteCloud, mill_file: Callable[..., Milled], tmp_path: Path) -> MakeProduct:
    """Make a product of a cloud of 100 x 100 metres, at 500 000 / 4 000 000."""

    def make_one(
        name: str, *, crs: str | None = "EPSG:25832", resolution: float = 1.0, **how: object
    ) -> Path:
        path = write_cloud(**{"points": 40_000, **how})
        source = read_source(path)
        milled = mill_file(path, f"{name}.copc.laz", resolution=resolution)
        cloud = Cloud(source, find_crs(source, crs), milled, tmp_path / "x", tmp_path, Settings())
        (kind,) = load_products([name])
        kind.write(cloud, tmp_path / kind.file)
        return tmp_path / kind.file

    return make_one


def steps(las: laspy.LasData) -> None:
    """A terrace 10 m high in the east, red in the north, a hole in the middle, noise far up."""
    east, north = las.X > 50_000, las.Y > 50_000
    las.Z = np.where(east, 20_000, 10_000).astype(np.int32)
    las.classification = np.full(len(las.X), 1, np.uint8)
    las.Z[:20], las.classification[:20] = 900_000, 18
    las.red = np.where(north, 60_000, 1).astype(np.uint16)
    las.green, las.blue = np.ones((2, len(las.X)), np.uint16)
    las.intensity = np.where(north, 500, 100).astype(np.uint16)
    middle = (abs(las.X - 50_000) < 10_000) & (abs(las.Y - 50_000) < 10_000)
    las.X = np.where(middle, 5_000, las.X)


def at(raster: DatasetReader, band: int, east: float, north: float) -> float:
    row, column = raster.index(500_000 + east, 4_000_000 + north)
    return float(raster.read(band)[row, column])


def test_the_surface_model_has_heights_without_noise_and_says_what_is_measured(
    make: MakeProduct,
) -> None:
    with rasterio.open(make("dsm", change=steps)) as raster:
        assert raster.transform.a == 1.0
        assert at(raster, 1, 20.5, 80.5) == 10.0
        assert at(raster, 1, 80.5, 20.5) == 20.0
        assert np.isnan(at(raster, 1, 50.5, 50.5))
        assert at(raster, 2, 50.5, 50.5) == 0
        heights, validity = raster.read()
        assert np.nanmax(heights) == 20.0
        assert np.array_equal(np.isnan(heights), validity == 0)
        assert (validity == 2).any()
        assert raster.units[0] == "metre"


def test_the_relief_is_bright_towards_the_light_and_dark_behind(make: MakeProduct) -> None:
    def ridge(las: laspy.LasData) -> None:
        las.Z = (50_000 - abs(las.X - 50_000)).astype(np.int32)

    with rasterio.open(make("hillshade", change=ridge)) as raster:
        shade = raster.read(1).astype(float)
        west, east = shade[:, 10:40].mean(), shade[:, 60:90].mean()
        assert west > east + 40
        assert raster.nodata == 0


def test_colours_are_those_of_the_points_and_holes_are_transparent(make: MakeProduct) -> None:
    with rasterio.open(make("rgb", change=steps)) as raster:
        assert raster.colorinterp[3].name == "alpha"
        assert [at(raster, band, 20.5, 80.5) for band in (1, 2, 3, 4)] == [234, 0, 0, 255]
        assert at(raster, 1, 20.5, 20.5) == 0
        assert at(raster, 4, 50.5, 50.5) == 0


def test_intensity_is_as_the_points_have_it(make: MakeProduct) -> None:
    with rasterio.open(make("intensity", change=steps)) as raster:
        assert raster.dtypes == ("uint16",)
        assert (at(raster, 1, 20.5, 80.5), at(raster, 1, 20.5, 20.5)) == (500, 100)
        assert at(raster, 1, 50.5, 50.5) == raster.nodata == 0


def test_density_is_points_per_area(make: MakeProduct) -> None:
    with rasterio.open(make("density", resolution=0.5)) as raster:
        density, cell = raster.read(1), raster.transform.a
        assert density.sum() * cell**2 == pytest.approx(40_000)
        assert density[5:-5, 5:-5].mean() == pytest.approx(4.0, rel=0.1)
        assert cell == 2.0
        assert raster.units == ("points per square metre",)


def test_the_boundary_lies_on_the_globe_and_in_the_clouds_own_coordinates(
    make: MakeProduct,
) -> None:
    found = json.loads(make("boundary", change=steps).read_text())
    (feature,) = found["features"]
    outer, hole = feature["geometry"]["coordinates"]
    assert feature["geometry"]["type"] == "Polygon"
    assert np.abs(np.array(outer) - (9.0, 36.14)).max() < 0.01
    properties = feature["properties"]
    assert properties["area"] == pytest.approx(100**2 - 20**2, rel=0.06)
    assert properties["area_unit"] == "square metre"
    native = np.array(properties["native"]["coordinates"][0][0])
    assert (native.min(axis=0) >= (499_990, 3_999_990)).all()
    assert (native.max(axis=0) <= (500_110, 4_000_110)).all()
    # Outer rings run anticlockwise, inner ones clockwise (RFC 7946, section 3.1.6).
    assert signed(outer) > 0 > signed(hole)


def signed(ring: list[list[float]]) -> float:
    x, y = (np.array(ring) - ring[0]).T
    return float(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:]))


def test_without_a_coordinate_system_the_boundary_says_so(make: MakeProduct) -> None:
    found = json.loads(make("boundary", crs=None).read_text())
    assert "unknown" in found["coordinates_are"]
    (feature,) = found["features"]
    assert feature["properties"]["area_unit"] is None
    assert feature["geometry"]["coordinates"][0][0][0] > 499_000


@pytest.mark.parametrize(
    ("name", "how", "reason"),
    [
        ("rgb", {"point_format": 6}, "no colours"),
        ("intensity", {"change": lambda las: las.intensity.__setitem__(slice(None), 7)}, "same"),
        ("dsm", {"points": 0}, "no points"),
        ("boundary", {"points": 0}, "no points"),
        ("hillshade", {"crs": "EPSG:4978"}, "geocentric"),
    ],
)
def test_what_cannot_be_made_is_left_out_with_a_reason(
    make: MakeProduct, name: str, how: dict[str, object], reason: str
) -> None:
    with pytest.raises(NotApplicable, match=reason):
        make(name, **how)


def test_feet_stay_feet(make: MakeProduct) -> None:
    with rasterio.open(make("dsm", change=steps, crs="EPSG:2994+6360")) as raster:
        assert raster.units[0] == "US survey foot"
    with rasterio.open(make("density", crs="EPSG:2994")) as raster:
        assert raster.units == ("points per square foot",)


@pytest.mark.parametrize("points", [1, 2, 10])
@pytest.mark.parametrize("name", ["dsm", "hillshade", "density", "boundary", "preview"])
def test_a_few_points_are_enough(make: MakeProduct, name: str, points: int) -> None:
    assert make(name, points=points).stat().st_size > 100

"""The grid: fine enough for the points, aligned, metric in degrees, and not spoilt by a stray."""

from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest

from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.las.records import Records, record_dtype
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.observed.frame import Frame, frame_of
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.order import Order

GEOGRAPHIC = CloudCrs("parameter", geographic=True)


@pytest.fixture
def frame_for(tmp_path: Path) -> Callable[..., Frame]:
    """The frame for points at these coordinates."""

    def make(
        x: np.ndarray,
        y: np.ndarray,
        *,
        crs: CloudCrs | None = None,
        resolution: float | None = None,
        scale: float = 0.001,
    ) -> Frame:
        header = laspy.LasHeader(point_format=6, version="1.4")
        header.scales, header.offsets = [scale] * 3, [np.floor(x.min()), np.floor(y.min()), 0]
        path = tmp_path / "header.las"
        laspy.LasData(header).write(path)
        records: Records = np.zeros(len(x), record_dtype(6))
        records["X"] = np.rint((x - header.offsets[0]) / scale)
        records["Y"] = np.rint((y - header.offsets[1]) / scale)
        ranges = Ranges(())
        ranges.add(records)
        order = Order(
            source=read_source(path),
            crs=crs or CloudCrs("none"),
            copc=path,
            scratch=tmp_path,
            workers=1,
            memory_bytes=1 << 30,
            needs=frozenset({"surface"}),
            resolution=resolution,
        )
        frame = frame_of(order, ranges, records)
        assert frame is not None
        row, column = frame.places(records)
        inside = (row >= 0) & (row < frame.height) & (column >= 0) & (column < frame.width)
        assert inside.mean() > 0.99
        return frame

    return make


def square(points: int, side: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(points)
    x, y = random.random((2, points)) * side
    return x, y


@pytest.mark.parametrize(("side", "cell"), [(60.0, 1.0), (150.0, 5.0), (1.5, 0.05)])
def test_a_cell_is_a_round_number_and_holds_four_points_or_more(
    frame_for: Callable[..., Frame], side: float, cell: float
) -> None:
    frame = frame_for(*square(20_000, side), scale=0.0001)
    assert frame.cell == cell
    assert 4 <= 20_000 / (side / cell) ** 2 <= 25


def test_a_thin_diagonal_is_as_dense_as_it_is_and_not_as_its_box(
    frame_for: Callable[..., Frame],
) -> None:
    x, _ = square(20_000, 2000.0)
    frame = frame_for(x, x + np.random.default_rng(1).random(20_000) * 5)
    assert frame.cell <= 5.0


def test_cells_begin_at_multiples_of_their_side(frame_for: Callable[..., Frame]) -> None:
    x, y = square(1000, 100.0)
    frame = frame_for(x + 477_123.4, y + 5_400_077.7, resolution=2.5)
    assert (frame.west % 2.5, frame.north % 2.5) == (0, 0)
    assert frame.west <= 477_123.4 + x.min() < frame.west + 2.5
    assert frame.north - 2.5 < 5_400_077.7 + y.max() <= frame.north
    assert frame.asked is None


def test_degrees_are_cut_into_squares_of_metres(frame_for: Callable[..., Frame]) -> None:
    x, y = square(5000, 0.001)
    frame = frame_for(x + 11, y + 60, crs=GEOGRAPHIC, resolution=2.0, scale=1e-8)
    # A degree on the sphere is 111.2 km; at 60 degrees north half of that across.
    assert frame.cell == 2.0
    assert frame.cell_y * 111_200 == pytest.approx(2.0, rel=0.01)
    assert frame.cell_x * 111_200 / 2 == pytest.approx(2.0, rel=0.01)


def test_metres_that_are_called_degrees_are_left_as_they_are(
    frame_for: Callable[..., Frame],
) -> None:
    x, y = square(5000, 100.0)
    frame = frame_for(x + 500_000, y + 4_000_000, crs=GEOGRAPHIC, resolution=2.0)
    assert (frame.cell_x, frame.cell_y) == (2.0, 2.0)


def test_a_stray_does_not_make_the_grid_coarse(frame_for: Callable[..., Frame]) -> None:
    x, y = square(20_000, 60.0)
    x[7], y[3] = 900_000.0, -900_000.0
    frame = frame_for(x, y)
    assert frame.cell == 1.0
    assert frame.width < 200
    assert frame.height < 200


def test_a_resolution_that_would_be_too_much_becomes_coarser_and_says_so(
    frame_for: Callable[..., Frame],
) -> None:
    frame = frame_for(*square(1000, 1000.0), resolution=0.01)
    assert frame.asked == 0.01
    assert frame.cell == 0.5
    assert frame.width * frame.height <= 1 << 23


@pytest.mark.parametrize("places", [[5.0], [5.0] * 2000, [0.0, 1e-3]])
def test_the_smallest_clouds_have_a_grid(
    frame_for: Callable[..., Frame], places: list[float]
) -> None:
    frame = frame_for(np.array(places), np.array(places))
    assert 1 <= frame.width * frame.height <= 4

"""Contour lines of hills whose lines are known."""

import numpy as np
import pytest

from services.processor.pointcloud.rasters.isolines import lines_at, round_interval, smoothed

NAN = np.float32(np.nan)


def cone(side: int = 201) -> np.ndarray:
    """A round hill: one unit lower for each cell away from the middle."""
    row, column = np.mgrid[:side, :side] - side // 2
    return (100 - np.hypot(row, column)).astype(np.float32)


def test_lines_around_a_round_hill_are_circles() -> None:
    smooth, joined = smoothed(cone())
    (lines,) = lines_at(smooth, joined, np.array([50.0]))
    (line,) = lines
    assert (line[0] == line[-1]).all()
    # The middle of the middle cell lies half a cell from its corner.
    assert np.hypot(*(line - 100.5).T) == pytest.approx(50, abs=0.2)


def test_fine_grids_are_joined_and_lines_lie_where_they_did() -> None:
    smooth, joined = smoothed(cone(2051))
    assert max(smooth.shape) <= 1024
    assert joined == 4
    (lines,) = lines_at(smooth, joined, np.array([-500.0]))
    assert np.hypot(*(lines[0] - 1025.5).T) == pytest.approx(600, abs=2)


def test_lines_end_where_nothing_is_known() -> None:
    heights = cone()
    heights[:, 150:] = NAN
    (lines,) = lines_at(*smoothed(heights), np.array([20.0]))
    assert max(line[:, 0].max() for line in lines) <= 150
    assert all((line[0] != line[-1]).any() for line in lines)


def test_crumbs_are_left_out() -> None:
    heights = np.zeros((100, 100), np.float32)
    heights[50:52, 50:52] = 3
    (lines,) = lines_at(*smoothed(heights), np.array([0.5]))
    assert lines == []
    heights[10:40, 10:40] = 9
    (lines,) = lines_at(*smoothed(heights), np.array([0.5]))
    assert len(lines) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_a_single_row_has_no_lines(shape: tuple[int, int]) -> None:
    heights = np.arange(50, dtype=np.float32)[: max(shape)].reshape(shape)
    assert list(lines_at(*smoothed(heights), np.array([0.5, 3.0]))) == [[], []]


@pytest.mark.parametrize("reach", [0.9, 1.0, 2.4, 7.7, 25, 99.9, 100, 1234.5])
def test_there_are_ten_to_twenty_five_levels(reach: float) -> None:
    interval = round_interval(311.7, 311.7 + reach, 0.001)
    assert 10 - 1e-6 <= reach / interval <= 25 + 1e-6
    assert f"{interval:e}"[0] in "125"
    assert float(f"{interval:e}"[:8]) in {1, 2, 5}


def test_level_ground_has_few_lines_rather_than_noise() -> None:
    assert round_interval(5.0, 5.4, 0.1) == 0.1
    assert round_interval(5.0, 5.0, 0.33) == 0.5

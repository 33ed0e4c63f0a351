"""What stands in the gaps of a grid once they are filled."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from services.processor.pointcloud.rasters.voids import (
    fill_from_nearest,
    fill_smoothly,
    near,
    within_outline,
)

FILLS = [fill_smoothly, fill_from_nearest]
NAN = np.float32(np.nan)


def slope(rows: int, columns: int) -> np.ndarray:
    """A plane that rises by 0.5 a row and 0.25 a column."""
    return np.add.outer(np.arange(rows) * 0.5, np.arange(columns) * 0.25).astype(np.float32)


@pytest.mark.parametrize("fill", FILLS)
def test_known_heights_stay_and_nothing_is_left_empty(
    fill: Callable[[np.ndarray], np.ndarray],
) -> None:
    grid = slope(37, 53)
    gaps = np.random.default_rng(3).random(grid.shape) < 0.6
    filled = fill(np.where(gaps, NAN, grid))
    assert (filled[~gaps] == grid[~gaps]).all()
    assert np.isfinite(filled).all()
    assert filled.min() >= grid.min()
    assert filled.max() <= grid.max()
    assert filled.dtype == np.float32


@pytest.mark.parametrize("fill", FILLS)
def test_a_full_grid_and_an_empty_one_come_back_as_they_are(
    fill: Callable[[np.ndarray], np.ndarray],
) -> None:
    grid = slope(4, 5)
    assert fill(grid) is grid
    empty = np.full((4, 5), NAN)
    assert np.isnan(fill(empty)).all()


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
def test_narrow_grids_are_filled(
    fill: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int]
) -> None:
    grid = np.full(shape, NAN)
    grid[0, 0] = 5
    assert (fill(grid) == 5).all()


def test_a_membrane_over_a_hole_in_a_slope_is_nearly_the_slope() -> None:
    grid = slope(80, 80)
    hole = grid.copy()
    hole[30:50, 30:50] = NAN
    error = np.abs(fill_smoothly(hole) - grid)
    # The hole's rim differs by 15 from one corner to the other.
    assert error.max() < 1.5
    assert error[30:50, 30:50].mean() < 0.6


@pytest.mark.parametrize("reach", [0.9, 1.0, 1.5, 5**0.5, 7.0, 63.5, 64.0, 65.0, 90.0])
def test_near_is_what_lies_within_reach_and_nothing_is_near_nothing(reach: float) -> None:
    mask = np.zeros((9, 150), bool)
    assert not near(mask, reach).any()
    places = [(0, 3), (4, 140), (8, 60)]
    mask[tuple(zip(*places, strict=True))] = True
    rows, columns = np.indices(mask.shape)
    squared = [(rows - row) ** 2 + (columns - column) ** 2 for row, column in places]
    assert np.array_equal(near(mask, reach), np.sqrt(np.min(squared, axis=0)) <= reach)


def test_an_outline_closes_gaps_and_goes_no_farther_out() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[24:30, 24:30] = False
    inside = within_outline(mask, 5)
    assert inside[10:50, 10:50].all()
    assert inside.sum() == 40 * 40

    mask[15:45, 15:45] = False
    assert not within_outline(mask, 5)[25:35, 25:35].any()


def test_a_reach_far_beyond_the_grid_costs_nothing_more() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2, 2] = mask[2, 6] = mask[6, 2] = mask[6, 6] = True
    started = time.process_time()
    inside = within_outline(mask, 1e6)
    assert time.process_time() - started < 0.2
    assert inside[3:6, 3:6].all()
    assert not inside[[0, -1]].any()

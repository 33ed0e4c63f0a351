"""What a window's opening leaves of a grid of heights."""

import numpy as np
import pytest

from services.processor.pointcloud.ground.openings import opened


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 9, 18, 30])
def test_a_wall_as_wide_as_the_window_stays_and_a_narrower_one_goes(radius: int) -> None:
    grid = np.zeros((6 * radius + 9, 6 * radius + 9), np.float32)
    grid[2 * radius : 4 * radius + 1, :] = 7
    assert (opened(grid, radius) == grid).all()
    assert (opened(grid.T.copy(), radius) == grid.T).all()

    grid[2 * radius, :] = 0
    assert not opened(grid, radius).any()


@pytest.mark.parametrize("radius", [1, 2, 3, 4, 5, 6, 7, 12, 17, 30])
def test_windows_are_nearly_round(radius: int) -> None:
    reach = np.arange(-2 * radius - 2, 2 * radius + 3)
    distance = np.hypot(*np.meshgrid(reach, reach))
    # A disc that holds the window keeps its middle; one that does not reach its corners loses it.
    around = np.where(distance <= 1.09 * radius + 0.4, np.float32(5), np.float32(0))
    assert opened(around, radius)[len(reach) // 2, len(reach) // 2] == 5
    within = np.where(distance <= 0.97 * radius - 0.5, np.float32(5), np.float32(0))
    assert not opened(within, radius).any()


def test_an_opening_lifts_nothing_and_is_done_once() -> None:
    grid = np.random.default_rng(1).random((70, 50)).astype(np.float32)
    for radius in (1, 2, 3, 6, 11, 40):
        once = opened(grid, radius)
        assert (once <= grid).all()
        assert (opened(once, radius) == once).all()


def test_half_a_window_takes_away_what_stands_at_the_edge() -> None:
    grid = np.zeros((40, 40), np.float32)
    grid[:4, 10:30] = 9
    assert not opened(grid, 5).any()
    assert opened(grid, 3).any()


def test_a_single_row_and_a_single_cell_are_opened_too() -> None:
    row = np.array([[0, 5, 0, 3, 3, 3, 0]], np.float32)
    assert opened(row, 1).tolist() == [[0, 0, 0, 3, 3, 3, 0]]
    cell = np.array([[4]], np.float32)
    assert opened(cell, 30).tolist() == [[4]]


def test_heights_in_steps_of_16_bits_are_opened_like_heights() -> None:
    grid = np.random.default_rng(3).integers(0, 1 << 16, (60, 45)).astype(np.uint16)
    for radius in (1, 2, 3, 8, 40):
        narrow = opened(grid, radius)
        assert narrow.dtype == np.uint16
        assert (narrow == opened(grid.astype(np.float32), radius)).all()

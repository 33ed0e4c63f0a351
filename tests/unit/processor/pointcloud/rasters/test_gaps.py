"""Gaps: filled from what lies around them, while edges stay where they are."""

import numpy as np

from services.processor.pointcloud.rasters.gaps import fill_gaps


def test_small_gaps_in_a_slope_continue_the_slope() -> None:
    slope = np.add.outer(np.arange(30.0), 2 * np.arange(40.0)).astype(np.float32)
    mask = np.ones(slope.shape, bool)
    mask[5, 5] = mask[10:12, 20:22] = mask[20, 8:12] = False
    known, (filled,) = fill_gaps(mask, [np.where(mask, slope, np.nan)])
    assert known.all()
    assert np.array_equal(filled[mask], slope[mask])
    assert np.abs(filled - slope).max() < 3


def test_edges_and_wide_gaps_stay() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[20:40, 20:40] = False
    known, _ = fill_gaps(mask, [mask])
    assert np.array_equal(known[:10], mask[:10])
    assert not known[28:32, 28:32].any()
    assert known.sum() - mask.sum() < 100


def test_nothing_and_everything_are_no_problem() -> None:
    for mask in (np.zeros((3, 3), bool), np.ones((3, 3), bool), np.ones((1, 1), bool)):
        known, (filled,) = fill_gaps(mask, [mask * 7])
        assert np.array_equal(known, mask)
        assert (filled[mask] == 7).all()

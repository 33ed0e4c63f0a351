"""Outlines: all that is covered lies within, holes are holes, and there are few vertices."""

import numpy as np

from services.processor.pointcloud.rasters.outline import outlines, signed_area


def area(parts: list[list[np.ndarray]]) -> float:
    return sum(abs(signed_area(rings[0])) for rings in parts) - sum(
        abs(signed_area(ring)) for rings in parts for ring in rings[1:]
    )


def test_a_square_with_a_yard_has_two_rings_of_few_vertices() -> None:
    covered = np.zeros((100, 120), bool)
    covered[10:90, 20:100] = True
    covered[40:60, 50:70] = False
    (rings,) = outlines(covered)
    assert len(rings) == 2
    assert all(4 <= len(ring) <= 9 for ring in rings)
    assert all((ring[0] == ring[-1]).all() for ring in rings)
    assert abs(area([rings]) - covered.sum()) < 0.005 * covered.sum()
    outer, hole = rings
    assert outer.min(axis=0).tolist() == [20, 10]
    assert outer.max(axis=0).tolist() == [100, 90]
    assert hole.min(axis=0).tolist() == [50, 40]


def test_parts_come_by_size_and_crumbs_not_at_all() -> None:
    covered = np.zeros((60, 60), bool)
    covered[5:15, 5:15] = covered[20:50, 20:50] = covered[55, 5] = True
    parts = outlines(covered)
    assert [round(abs(signed_area(rings[0])), -2) for rings in parts] == [900, 100]


def test_gaps_of_a_few_cells_are_no_holes() -> None:
    covered = np.ones((50, 50), bool)
    covered[20:23, 10:40] = False
    (rings,) = outlines(covered)
    assert len(rings) == 1


def test_a_rough_edge_is_drawn_to_half_a_cell() -> None:
    down, right = np.mgrid[:200, :200]
    covered = np.hypot(down - 100, right - 100) < 80
    (rings,) = outlines(covered)
    away = np.abs(np.hypot(*(rings[0] - 100.5).T) - 80)
    assert away.max() < 1.5
    assert len(rings[0]) < 120
    assert abs(area([rings]) / covered.sum() - 1) < 0.01


def test_a_single_cell_has_an_outline() -> None:
    (rings,) = outlines(np.ones((1, 1), bool))
    assert abs(signed_area(rings[0])) > 0

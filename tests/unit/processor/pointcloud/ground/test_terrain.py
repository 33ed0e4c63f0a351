"""What of the terrain is measured, what is interpolated, and what is left void."""

import numpy as np

from services.processor.pointcloud.ground.terrain import span_terrain
from services.processor.pointcloud.rasters.validity import INTERPOLATED, MEASURED, VOID

NAN = np.float32(np.nan)


def test_small_gaps_are_interpolated_and_wide_ones_stay_void_in_the_middle() -> None:
    measured = np.full((60, 120), 10, np.float32)
    seen = np.ones(measured.shape, bool)
    measured[20:26, 20:26] = NAN
    measured[10:50, 60:100] = NAN
    terrain = span_terrain(measured, seen, 5)
    assert (terrain.validity[20:26, 20:26] == INTERPOLATED).all()
    assert (terrain.validity[28:32, 78:82] == VOID).all()
    assert terrain.validity[12, 80] == INTERPOLATED
    assert (terrain.validity[:10] == MEASURED).all()
    assert (np.isnan(terrain.heights) == (terrain.validity == VOID)).all()
    assert np.nanmin(terrain.heights) == np.nanmax(terrain.heights) == 10


def test_nothing_is_interpolated_where_the_cloud_does_not_reach() -> None:
    measured = np.full((50, 50), NAN)
    measured[20:30, 20:30] = 5
    terrain = span_terrain(measured, ~np.isnan(measured), 8)
    assert (terrain.validity == MEASURED).sum() == 100
    assert not (terrain.validity == INTERPOLATED).any()


def test_what_was_seen_but_is_no_ground_is_interpolated() -> None:
    seen = np.zeros((50, 50), bool)
    seen[10:40, 10:40] = True
    measured = np.where(seen, np.float32(5), NAN)
    measured[20:30, 20:30] = NAN
    terrain = span_terrain(measured, seen, 8)
    assert (terrain.validity[20:30, 20:30] == INTERPOLATED).all()
    assert (terrain.validity == INTERPOLATED).sum() == 100


def test_without_ground_everything_is_void() -> None:
    terrain = span_terrain(np.full((3, 4), NAN), np.ones((3, 4), bool), 2)
    assert not terrain.validity.any()
    assert np.isnan(terrain.heights).all()

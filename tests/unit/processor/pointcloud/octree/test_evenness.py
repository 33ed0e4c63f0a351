"""Landscapes are told from scenes by how their points lie as seen from above."""

import numpy as np

from services.processor.pointcloud.octree.evenness import LEVELS, fitting_grid
from services.processor.pointcloud.octree.morton import interleave

RANDOM = np.random.default_rng(3)
SIDE = 1 << LEVELS


def counts(x: list[float], y: list[float], z: list[float]) -> np.ndarray:
    places = np.clip(np.array([x, y, z]) * SIDE, 0, SIDE - 1).astype(np.int32)
    return np.bincount(interleave(places).view(np.int64), minlength=SIDE**3)


def spread(points: int, low: float = 0, high: float = 1) -> np.ndarray:
    return RANDOM.uniform(low, high, points)


def test_hills_with_woods_are_a_landscape() -> None:
    x, y = spread(100_000), spread(100_000)
    hills = 0.05 * (np.sin(6 * x) + np.cos(5 * y) + 2)
    assert (
        fitting_grid(counts(x, y, hills + 0.03 * RANDOM.random(100_000) * (x > 0.5))) == "columns"
    )


def test_a_room_with_walls_is_a_scene() -> None:
    floor = (spread(50_000), spread(50_000), np.zeros(50_000))
    walls = (np.repeat([0.02, 0.98], 50_000), spread(100_000), spread(100_000, 0, 0.3))
    assert fitting_grid(counts(*np.concatenate([floor, walls], axis=1))) == "cubes"


def test_a_wall_alone_is_a_scene_though_its_columns_are_even() -> None:
    wall = counts(spread(99_999), spread(99_999, 0, 0.08), spread(99_999))
    assert fitting_grid(wall) == "cubes"


def test_a_scan_that_is_dense_around_its_scanner_is_a_scene() -> None:
    distance, angle = 0.5 * spread(100_000) ** 3, spread(100_000, 0, 6.283)
    ground = np.zeros(100_000)
    x, y = 0.5 + distance * np.cos(angle), 0.5 + distance * np.sin(angle)
    assert fitting_grid(counts(x, y, ground)) == "cubes"


def test_a_cluster_with_a_stray_far_away_is_no_landscape() -> None:
    x, y, z = spread(10_000, 0, 0.01), spread(10_000, 0, 0.01), spread(10_000, 0, 0.01)
    x[0], y[0], z[0] = 0.999, 0.999, 0.999
    assert fitting_grid(counts(x, y, z)) == "cubes"


def test_no_points_are_no_landscape() -> None:
    assert fitting_grid(np.zeros(SIDE**3, np.int64)) == "cubes"

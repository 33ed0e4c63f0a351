"""The ground of made-up landscapes, and of seven that people have classified."""

import laspy
import numpy as np
import pytest

from services.processor.pointcloud.ground.morphology import ground_between
from tests.fixtures.corpus import CorpusFile, corpus_or_skip

NAN = np.float32(np.nan)


def hills(side: int = 200) -> np.ndarray:
    """Rolling ground, at most one in eight steep."""
    row, column = np.mgrid[:side, :side]
    return (4 * np.sin(row / 40) + 3 * np.cos(column / 30) + 100).astype(np.float32)


def is_ground(lowest: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Which cells would be ground at these heights."""
    least, most = ground_between(lowest, 1.0)
    return (heights >= least) & (heights <= most)


def test_bare_hills_are_ground_everywhere() -> None:
    ground = hills()
    assert is_ground(ground, ground).mean() > 0.999


def test_halls_trees_and_cars_stand_on_the_ground() -> None:
    ground = hills()
    lowest = ground.copy()
    lowest[40:90, 30:85] = 112
    lowest[120:124, 20:60] += 1.5
    trees = np.random.default_rng(1).integers(130, 190, (80, 2))
    lowest[trees[:, 0], trees[:, 1]] += 9
    standing = lowest != ground
    assert not is_ground(lowest, lowest)[standing].any()
    assert is_ground(lowest, lowest)[~standing].mean() > 0.99
    # And the ground below them is known: within two steps of what was there.
    least, most = ground_between(lowest, 1.0)
    assert np.abs((least + most) / 2 - ground)[standing].max() < 4
    assert np.abs((least + most) / 2 - ground)[130:190, 130:190].max() < 0.5


def test_a_single_point_far_below_draws_nothing_down() -> None:
    ground = hills()
    lowest = ground.copy()
    lowest[100, 100] -= 40
    least, most = ground_between(lowest, 1.0)
    assert np.abs((least + most) / 2 - ground).max() < 0.3
    assert not is_ground(lowest, lowest)[100, 100]


def test_heights_far_apart_are_told_apart_as_well_as_others() -> None:
    ground = hills()
    lowest = ground.copy()
    lowest[40:90, 30:85] += 12
    alone = is_ground(lowest, lowest)
    tower = lowest.copy()
    tower[150, 150] += 5000
    beside = is_ground(tower, tower)
    assert not beside[150, 150]
    assert (beside != alone).sum() < 20


def test_gaps_hold_no_surprise() -> None:
    ground = hills()
    lowest = np.where(np.random.default_rng(2).random(ground.shape) < 0.5, NAN, ground)
    lowest[50:110, 50:110] = NAN
    seen = ~np.isnan(lowest)
    assert is_ground(lowest, ground)[seen].mean() > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_the_smallest_clouds_are_flat_ground(shape: tuple[int, int]) -> None:
    lowest = np.full(shape, 7, np.float32)
    assert is_ground(lowest, lowest).all()


def test_where_nothing_is_known_nothing_is_ground() -> None:
    lowest = np.full((5, 5), NAN)
    assert not is_ground(lowest, np.zeros((5, 5))).any()


def test_the_same_grid_gives_the_same_ground() -> None:
    lowest = hills() + np.random.default_rng(4).random((200, 200)).astype(np.float32)
    first, second = ground_between(lowest, 1.0), ground_between(lowest, 1.0)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()


def reference_samples() -> list[CorpusFile]:
    """ISPRS filter test (Sithole and Vosselman 2003): class 2 is the reference's ground."""
    files = corpus_or_skip("valid")
    return [file for file in files if file.name.startswith("PDAL_data__samp")]


def judged(file: CorpusFile) -> tuple[float, float]:
    """Total error in percent, and Cohen's kappa."""
    cloud = laspy.read(file.path)
    x, y, z = (np.asarray(cloud[name]) - cloud[name].min() for name in ("x", "y", "z"))
    row, column = y.astype(int), x.astype(int)
    lowest = np.full((row.max() + 1, column.max() + 1), np.inf, np.float32)
    np.minimum.at(lowest, (row, column), z.astype(np.float32))
    least, most = ground_between(np.where(np.isinf(lowest), NAN, lowest), 1.0)
    ours = (z >= least[row, column]) & (z <= most[row, column])
    theirs = np.asarray(cloud.classification) == 2
    agreed = (ours == theirs).mean()
    by_chance = ours.mean() * theirs.mean() + (1 - ours.mean()) * (1 - theirs.mean())
    return 100 * (1 - agreed), (agreed - by_chance) / (1 - by_chance)


@pytest.mark.corpus
def test_the_filter_agrees_with_what_people_have_classified() -> None:
    samples = reference_samples()
    assert len(samples) == 7
    results = [judged(file) for file in samples]
    print("\n| sample | points | total error % | kappa |\n|---|---|---|---|")  # noqa: T201 (the README's table)
    for file, (error, kappa) in zip(samples, results, strict=True):
        print(f"| {file.name.split('__')[1][:6]} | {file.points} | {error:.1f} | {kappa:.3f} |")  # noqa: T201
    errors, kappas = (np.mean(column) for column in zip(*results, strict=True))
    print(f"| mean | | {errors:.1f} | {kappas:.3f} |")  # noqa: T201
    assert kappas >= 0.8
    assert errors <= 5

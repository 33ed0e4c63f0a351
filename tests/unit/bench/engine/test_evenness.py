"""Evenness is what one finds by counting the points of each level oneself."""

from pathlib import Path

import copclib
import numpy as np
import pytest

from services.processor.tasks.pointcloud_ingest import Params
from tests.bench.engine.airborne import EAST, NORTH, write_airborne
from tests.bench.engine.evenness import evenness
from tests.fixtures.ingest import ingest

SIDE = 141.421


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The COPC file of an airborne cloud of two hundred thousand points."""
    folder = tmp_path_factory.mktemp("evenness")
    source = folder / "cloud.laz"
    write_airborne(source, 200_000, 6)
    ingest(source, folder, Params(products=[]))
    return folder / "out" / "copc.laz"


def counts_by_level(product: Path) -> np.ndarray:
    """Points in cells of ten metres, for each level, decoded by another library."""
    reader = copclib.FileReader(str(product))
    cells = int(SIDE // 10) + 1
    counts = np.zeros((reader.GetMaxDepth() + 1, cells, cells), int)
    for node in reader.GetAllNodes():
        points = reader.GetPoints(node) if node.point_count else None
        if points is not None:
            # The cloud's own corner, not the one of its square, is where cells begin.
            x, y = np.array(points.x) - EAST, np.array(points.y) - NORTH
            np.add.at(counts[node.key.d], ((y / 10).astype(int), (x / 10).astype(int)), 1)
    return counts


def test_levels_are_counted_with_all_coarser_ones_in_every_cell_that_has_a_point(
    product: Path,
) -> None:
    counts = counts_by_level(product)
    inside = counts.sum(axis=0) > 0
    expected = []
    for level in range(4):
        seen = counts[: level + 1].sum(axis=0)[inside]
        expected.append(seen.std() / seen.mean())

    levels, whole = evenness(product)

    assert levels == pytest.approx(expected)
    seen = counts.sum(axis=0)[inside]
    assert whole == pytest.approx(seen.std() / seen.mean())


def test_what_a_viewer_shows_first_of_an_airborne_cloud_is_even(product: Path) -> None:
    levels, whole = evenness(product)
    # Finer levels of so small a cloud have nodes with all their points beside others with a few.
    assert levels[0] <= 0.45
    assert whole == pytest.approx(0.36, abs=0.1)

"""Readers that others have written find in a product exactly what the source has."""

from pathlib import Path

import copclib
import laspy
import numpy as np
import pytest
from numpy.typing import NDArray

from services.processor.pointcloud import miller, plan
from services.processor.pointcloud.octree import hierarchy
from tests.fixtures.records import expected_records, in_order
from tests.unit.processor.pointcloud.conftest import MillFile, WriteCloud

Side = NDArray[np.float64]
Box = tuple[Side, Side]
EXTRA = (laspy.ExtraBytesParams("height", "f4"), laspy.ExtraBytesParams("tree", "u2"))
BOXES = 40
SCALE = 0.001


@pytest.fixture
def many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small clouds have many nodes, and their hierarchy several pages."""
    monkeypatch.setattr(plan, "LEAF_POINTS", 200)
    monkeypatch.setattr(miller, "LEAST_POINTS", 0)
    for name, limit in (("_WHOLE", 40), ("_LEVELS", 2), ("_SMALL", 3)):
        monkeypatch.setattr(hierarchy, name, limit)


def records_by_copclib(product: Path) -> NDArray[np.uint8]:
    """Every record of every node, as copclib finds, fetches and decodes them."""
    reader = copclib.FileReader(str(product))
    length = reader.copc_config.las_header.point_record_length
    rows = [np.zeros((0, length), np.uint8)]
    for node in reader.GetAllNodes():
        if node.point_count:
            data = np.array(reader.GetPointData(node), np.int8).view(np.uint8)
            rows.append(data.reshape(node.point_count, length))
    return in_order(np.concatenate(rows))


@pytest.mark.parametrize("point_format", range(11))
def test_copclib_decodes_every_record_of_every_point_format(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, point_format: int
) -> None:
    source = write_cloud(point_format=point_format, extra=EXTRA)

    mill_file(source)

    product = tmp_path / "out.copc.laz"
    assert np.array_equal(records_by_copclib(product), expected_records(source))
    reader = copclib.FileReader(str(product))
    assert reader.ValidateSpatialBounds()
    assert len(reader.copc_config.extra_bytes_vlr.items) == len(EXTRA)


@pytest.mark.usefixtures("many_nodes")
def test_copclib_decodes_every_record_through_many_pages(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    source = write_cloud(points=30_000, extra=EXTRA)

    milled = mill_file(source)

    product = tmp_path / "out.copc.laz"
    reader = copclib.FileReader(str(product))
    assert milled.nodes > 100
    assert len(reader.GetPageList()) > 3
    assert np.array_equal(records_by_copclib(product), expected_records(source))
    assert reader.ValidateSpatialBounds()


@pytest.mark.usefixtures("many_nodes")
@pytest.mark.parametrize("axes", [2, 3])
def test_a_query_by_laspy_finds_what_a_search_of_all_points_finds(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, axes: int
) -> None:
    source = write_cloud(points=30_000)
    mill_file(source)
    points = laspy.read(source)

    found, expected = [], []
    with laspy.CopcReader.open(tmp_path / "out.copc.laz") as reader:
        for low, high in boxes(points, axes):
            # laspy rounds the sides of a box to where points can lie.
            sides = [side * SCALE + points.header.offsets[:axes] for side in (low, high)]
            found.append(rows_of(reader.query(laspy.copc.Bounds(*sides))))
            expected.append(rows_of(points.points[inside(points, low, high)]))

    assert sum(map(len, expected)) > 10_000
    assert min(map(len, expected)) == 0
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert np.array_equal(one, other), f"box {number}"


@pytest.mark.usefixtures("many_nodes")
def test_a_query_by_copclib_finds_as_many_points_as_a_search_of_all_points(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    source = write_cloud(points=5000)
    mill_file(source)
    points = laspy.read(source)

    found, expected = [], []
    reader = copclib.FileReader(str(tmp_path / "out.copc.laz"))
    for low, high in boxes(points, 3)[:20]:
        # Sides between the places where points can lie, since copclib compares rounded numbers.
        sides = [side * SCALE + points.header.offsets for side in (low - 0.5, high + 0.5)]
        found.append(len(reader.GetPointsWithinBox(copclib.Box(*sides[0], *sides[1]))))
        expected.append(np.count_nonzero(inside(points, low, high)))

    assert found == expected
    assert sum(found) > 0


def boxes(points: laspy.LasData, axes: int) -> list[Box]:
    """Small and large boxes in the cloud and around it, as stored coordinates."""
    stored = np.array([points.X, points.Y, points.Z])[:axes]
    low, size = stored.min(axis=1), np.ptp(stored, axis=1)
    random = np.random.default_rng(axes)
    centers = low + size * random.uniform(-0.1, 1.1, (BOXES, axes))
    halves = size * random.choice([0.01, 0.1, 0.5, 2.0], (BOXES, axes)) / 2
    return list(zip(np.rint(centers - halves), np.rint(centers + halves), strict=True))


def inside(points: laspy.LasData, low: Side, high: Side) -> NDArray[np.bool_]:
    """Which points lie in a box or on its sides."""
    stored = np.array([points.X, points.Y, points.Z])[: len(low)].T
    return np.asarray(((stored >= low) & (stored <= high)).all(axis=1))


def rows_of(points: laspy.ScaleAwarePointRecord) -> NDArray[np.uint8]:
    """The records of some points, sorted."""
    rows = points.array.view(np.uint8)
    return in_order(rows.reshape(len(points), points.array.dtype.itemsize))

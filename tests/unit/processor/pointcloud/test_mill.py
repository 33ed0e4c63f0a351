"""Milling whole files: nothing lost, the same bytes whoever does the work, unlucky clouds included."""

import shutil
from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest

from services.processor.pointcloud import mill as road
from services.processor.pointcloud import plan
from services.processor.pointcloud.mill import Milled
from shared.errors import TaskFailed
from tests.fixtures.records import expected_records, records_of

WriteCloud = Callable[..., Path]
MillFile = Callable[..., Milled]


@pytest.fixture
def many_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat small clouds as if they were large."""
    monkeypatch.setattr(road, "_ALONE_POINTS", 0)
    monkeypatch.setattr(plan, "_USUAL_CELL", 2000)


@pytest.mark.parametrize("point_format", range(11))
@pytest.mark.parametrize("ending", ["las", "laz"])
def test_no_record_of_any_point_format_is_lost_or_changed(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, point_format: int, ending: str
) -> None:
    extra = (laspy.ExtraBytesParams("height", "f4"), laspy.ExtraBytesParams("tree", "u2"))
    source = write_cloud(f"cloud.{ending}", point_format=point_format, extra=extra)

    mill_file(source)

    product = tmp_path / "out.copc.laz"
    assert np.array_equal(records_of(product), expected_records(source))
    with laspy.CopcReader.open(product) as reader:
        assert [dimension.name for dimension in reader.header.point_format.extra_dimensions] == [
            "height",
            "tree",
        ]
        assert len(reader.query()) == 1000


@pytest.mark.usefixtures("many_cells")
def test_the_product_is_the_same_however_little_is_read_at_once(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_cloud("cloud.laz", points=60_000)
    mill_file(source, "plenty.copc.laz")
    monkeypatch.setattr(plan, "_LEAST_BATCH_BYTES", 100_000)
    mill_file(source, "little.copc.laz", memory_bytes=64 << 20)

    assert (tmp_path / "little.copc.laz").read_bytes() == (
        tmp_path / "plenty.copc.laz"
    ).read_bytes()


@pytest.mark.usefixtures("many_cells")
def test_the_product_is_the_same_for_any_number_of_processes(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_cloud("cloud.laz", points=60_000)
    for workers in (1, 2, 3):
        mill_file(source, f"{workers}.copc.laz", workers=workers)
    monkeypatch.setattr(road, "_ALONE_POINTS", 1 << 30)
    mill_file(source, "alone.copc.laz")

    products = [tmp_path / f"{name}.copc.laz" for name in ("1", "2", "3", "alone")]
    assert len({product.read_bytes() for product in products}) == 1
    assert np.array_equal(records_of(products[0]), expected_records(source))


@pytest.mark.usefixtures("many_cells")
def test_a_query_of_the_product_finds_what_a_search_of_the_source_finds(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    source = write_cloud(points=60_000)
    milled = mill_file(source)
    assert milled.nodes > 20

    low, high = (500_020.0, 4_000_030.0), (500_041.0, 4_000_077.0)
    with laspy.CopcReader.open(tmp_path / "out.copc.laz") as reader:
        found = reader.query(laspy.copc.Bounds(mins=np.array(low), maxs=np.array(high)))
    points = laspy.read(source)
    inside = (points.x >= low[0]) & (points.x <= high[0])
    inside &= (points.y >= low[1]) & (points.y <= high[1])
    assert len(found) == np.count_nonzero(inside)


def test_a_cloud_without_points_is_a_valid_cloud(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    milled = mill_file(write_cloud(points=0))
    assert milled.product.points == 0
    with laspy.CopcReader.open(tmp_path / "out.copc.laz") as reader:
        assert len(reader.query()) == 0


def test_a_single_point_is_enough(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    source = write_cloud(points=1)
    mill_file(source)
    assert np.array_equal(records_of(tmp_path / "out.copc.laz"), expected_records(source))


@pytest.mark.usefixtures("many_cells")
def test_a_stray_point_far_away_does_not_spoil_the_tree(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stray(las: laspy.LasData) -> None:
        las.X[7], las.Y[7], las.Z[7] = 2**31 - 1, -(2**31), 2**31 - 1

    monkeypatch.setattr(plan, "LEAF_POINTS", 1000)
    monkeypatch.setattr(plan, "_CELL_BYTES", 36 * 3000)
    source = write_cloud(points=40_000, change=stray)
    milled = mill_file(source, workers=2)

    assert np.array_equal(records_of(tmp_path / "out.copc.laz"), expected_records(source))
    assert milled.nodes < 400


@pytest.mark.usefixtures("many_cells")
def test_more_points_at_one_place_than_a_cell_holds_become_one_node(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heap(las: laspy.LasData) -> None:
        las.X[100:], las.Y[100:], las.Z[100:] = 70_000, 30_000, 500

    monkeypatch.setattr(plan, "LEAF_POINTS", 1000)
    monkeypatch.setattr(plan, "_CELL_BYTES", 36 * 3000)
    source = write_cloud(points=20_000, change=heap)
    milled = mill_file(source, workers=2)

    assert milled.twins >= 19_899
    assert np.array_equal(records_of(tmp_path / "out.copc.laz"), expected_records(source))


@pytest.mark.usefixtures("many_cells")
@pytest.mark.parametrize("stated", [(0.0, 1.0), (-1e7, 1e7), (5.0, -5.0), (np.nan, np.nan)])
def test_wrong_bounds_in_the_header_do_no_harm(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, stated: tuple[float, float]
) -> None:
    source = write_cloud(points=20_000)
    mill_file(source, "right.copc.laz")
    lying = bytearray(source.read_bytes())
    lying[179:227] = np.array([stated[1], stated[0]] * 3, "<f8").tobytes()
    source.write_bytes(lying)

    milled = mill_file(source, "wrong.copc.laz")

    right, wrong = (laspy.read(tmp_path / f"{name}.copc.laz").header for name in ("right", "wrong"))
    assert milled.nodes > 4
    assert wrong.mins.tolist() == right.mins.tolist()
    assert wrong.maxs.tolist() == right.maxs.tolist()
    assert np.array_equal(records_of(tmp_path / "wrong.copc.laz"), expected_records(source))


def test_the_header_says_what_is_true_of_the_points(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    source = write_cloud(points=5000)
    mill_file(source)
    points = laspy.read(source)
    with laspy.open(tmp_path / "out.copc.laz") as product:
        header = product.header
    assert header.point_count == 5000
    assert header.mins.tolist() == [points.x.min(), points.y.min(), points.z.min()]
    assert header.maxs.tolist() == [points.x.max(), points.y.max(), points.z.max()]
    assert header.number_of_points_by_return[:2].tolist() == [
        np.count_nonzero(points.return_number == number) for number in (1, 2)
    ]
    assert header.global_encoding.wkt


def test_a_record_whose_name_is_no_ascii_leaves_the_product_readable(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path
) -> None:
    source = write_cloud(
        change=lambda las: las.vlrs.append(laspy.VLR("M" + "?" * 5, 7, "note", b"kept"))
    )
    source.write_bytes(source.read_bytes().replace(b"M?????", "Müller".encode("latin-1")))
    mill_file(source)
    with laspy.open(tmp_path / "out.copc.laz") as reader:
        (vlr,) = (vlr for vlr in reader.header.vlrs if vlr.record_id == 7)
    assert (vlr.user_id, vlr.record_data) == ("M?ller", b"kept")


def test_a_source_shorter_than_its_header_says_is_refused(
    write_cloud: WriteCloud, mill_file: MillFile
) -> None:
    source = write_cloud()
    source.write_bytes(source.read_bytes()[:-100])
    with pytest.raises(TaskFailed) as failure:
        mill_file(source)
    assert failure.value.code == "points_missing"
    assert "997" in failure.value.detail


def test_damaged_compressed_points_are_refused_with_the_points_in_question(
    write_cloud: WriteCloud, mill_file: MillFile
) -> None:
    source = write_cloud("cloud.laz", points=20_000)
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(5000)
    source.write_bytes(data[: len(data) * 3 // 4])
    with pytest.raises(TaskFailed) as failure:
        mill_file(source)
    assert failure.value.code in {"laz_damaged", "points_missing"}


def test_work_that_finds_no_room_is_refused_before_it_begins(
    write_cloud: WriteCloud, mill_file: MillFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 20, 0, 10))
    with pytest.raises(TaskFailed) as failure:
        mill_file(write_cloud())
    assert failure.value.code == "scratch_full"

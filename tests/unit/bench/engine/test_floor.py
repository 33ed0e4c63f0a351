"""The floor does all of the codec's work, and the same work that the engine has done."""

from pathlib import Path

import numpy as np
import pytest

from services.processor.pointcloud.las.source import Source, read_source
from services.processor.pointcloud.octree.chunks import compress
from tests.bench.engine import floor
from tests.bench.engine.airborne import write_airborne
from tests.bench.engine.copclib_writer import write_with_copclib
from tests.bench.engine.speed import mill
from tests.fixtures.records import records_of

POINTS = 230_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cloud, its product, and the product's records."""
    folder = tmp_path_factory.mktemp("floor")
    write_airborne(folder / "cloud.laz", POINTS)
    taken = mill(folder / "cloud.laz", folder / "job", watch_memory=True)
    assert 0 < taken.held <= taken.highest
    (folder / "job" / "out" / "copc.laz").rename(folder / "copc.laz")
    floor.write_raw(folder / "copc.laz", folder / "raw")
    return folder


@pytest.fixture(scope="module")
def copc(folder: Path) -> Source:
    return read_source(folder / "copc.laz")


def test_all_processes_together_decode_and_encode_every_point_once(
    folder: Path, copc: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floor, "_GROUP_POINTS", 60_000)
    source = read_source(folder / "cloud.laz")
    decoded = [floor.decode(source, 50_000, number, 3) for number in range(3)]
    encoded = [floor.encode(copc, folder / "raw", number, 3) for number in range(3)]
    assert sum(decoded) == sum(encoded) == POINTS
    assert min(decoded) > 0
    assert min(encoded) > 0


def test_the_records_compressed_anew_are_the_chunks_of_the_product(
    folder: Path, copc: Source
) -> None:
    record = copc.find("laszip encoded", 22204)
    assert record is not None
    rows = np.fromfile(folder / "raw", np.uint8)
    ends = np.cumsum([count * copc.record_length for count in floor._chunk_points(copc)])
    groups = np.split(rows, ends[:-1])
    packed, _ = compress(groups, record.payload(copc.path))
    stored = copc.path.read_bytes()[copc.points_offset + 8 :]
    assert len(groups) > 3
    assert stored.startswith(bytes(packed))


def test_what_copclib_writes_is_the_whole_cloud(folder: Path) -> None:
    written = write_with_copclib(folder / "copc.laz", folder / "raw", folder / "rival.copc.laz")
    assert written == POINTS
    assert np.array_equal(records_of(folder / "rival.copc.laz"), records_of(folder / "cloud.laz"))

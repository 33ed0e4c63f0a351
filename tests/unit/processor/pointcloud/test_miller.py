"""What one process holds in memory while it does its share."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import laspy
import pytest

from services.processor.pointcloud.las.extra import read_extra_bytes
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.miller import Miller
from services.processor.pointcloud.octree.chunks import laz_record
from services.processor.pointcloud.octree.cube import stated_cube
from services.processor.pointcloud.plan import Plan, Range

WriteCloud = Callable[..., Path]


@pytest.mark.parametrize("batches", [1, 4], ids=["one batch", "four batches"])
def test_reading_holds_one_batch_of_points_and_no_copy_of_it(
    write_cloud: WriteCloud, tmp_path: Path, batches: int
) -> None:
    """Long records, so that codes and counts are small beside them."""
    extra = tuple(laspy.ExtraBytesParams(f"extra{number}", "f8") for number in range(25))
    source = read_source(write_cloud(points=160_000, extra=extra))
    batch_bytes = source.point_count * source.record_length // batches
    plan = Plan(
        source=source,
        decoder="plain",
        cube=stated_cube(source),
        scratch=tmp_path,
        levels=2,
        extra=read_extra_bytes(source).dimensions,
        laz_record=laz_record(7, source.extra_bytes),
        batch_bytes=batch_bytes,
    )
    miller = Miller("0", plan, lambda _: None)

    tracemalloc.start()
    try:
        found = miller.distribute(Range(0, source.point_count, "points"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        miller.close()

    pieces = [piece for parts in found.pieces.values() for piece in parts]
    assert sum(piece.points for piece in pieces) == source.point_count
    assert {len(parts) for parts in found.pieces.values()} == {batches}
    assert batch_bytes <= most < batch_bytes + (10 << 20)

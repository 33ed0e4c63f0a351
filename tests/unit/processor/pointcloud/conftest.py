"""Small clouds, made up, and the way to have them milled."""

from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest

from services.processor.pointcloud.las.crs import find_crs
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.mill import Milled, mill
from services.processor.pointcloud.order import Order

WriteCloud = Callable[..., Path]
MillFile = Callable[..., Milled]


@pytest.fixture
def write_cloud(tmp_path: Path) -> WriteCloud:
    """Write a cloud of random records: a rough surface of 100 x 100 units."""

    def write(
        name: str = "cloud.las",
        *,
        point_format: int = 7,
        points: int = 1000,
        change: Callable[[laspy.LasData], None] | None = None,
        extra: tuple[laspy.ExtraBytesParams, ...] = (),
    ) -> Path:
        random = np.random.default_rng(points)
        version = "1.4" if point_format > 5 else "1.3" if point_format > 3 else "1.2"
        header = laspy.LasHeader(point_format=point_format, version=version)
        header.scales, header.offsets = [0.001] * 3, [500_000.0, 4_000_000.0, 0.0]
        if extra:
            header.add_extra_dims(list(extra))
        las = laspy.LasData(header)
        las.X, las.Y = random.integers(0, 100_000, (2, points), dtype=np.int32)
        las.Z = (las.X // 20 + random.integers(0, 3000, points)).astype(np.int32)
        las.intensity = random.integers(0, 1 << 16, points)
        las.return_number = random.integers(1, 3, points)
        las.number_of_returns = np.full(points, 2, np.uint8)
        las.classification = random.integers(1, 7, points)
        las.point_source_id = random.integers(0, 9, points)
        if point_format not in (0, 2):
            las.gps_time = 1e8 + np.arange(points) * 1e-4
        if point_format in (2, 3, 5, 7, 8, 10):
            las.red, las.green, las.blue = random.integers(0, 1 << 16, (3, points))
        for dimension in extra:
            las[dimension.name] = random.integers(0, 100, points)
        if change:
            change(las)
        path = tmp_path / name
        las.write(path)
        return path

    return write


@pytest.fixture
def mill_file(tmp_path: Path) -> MillFile:
    """Mill a file into `out` and hand back what became of it."""

    def mill_one(
        path: Path,
        out: str = "out.copc.laz",
        *,
        workers: int = 1,
        resolution: float | None = None,
        memory_bytes: int = 1 << 30,
    ) -> Milled:
        source = read_source(path)
        scratch = tmp_path / f"scratch-{out}"
        scratch.mkdir()
        order = Order(
            source=source,
            crs=find_crs(source),
            copc=tmp_path / out,
            scratch=scratch,
            workers=workers,
            memory_bytes=memory_bytes,
            needs=frozenset({"statistics", "surface"}),
            resolution=resolution,
        )
        return mill(order, Meter(lambda _stage, _fraction, _message, _left: None))

    return mill_one

"""Clouds over a landscape that is known, and the way to have products made of them."""

from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest

from services.processor.pointcloud.las.crs import find_crs
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.mill import mill
from services.processor.pointcloud.order import Need, Order
from services.processor.pointcloud.products.kind import Cloud, Settings

SIDE = 120
CORNER = (500_000.0, 4_000_000.0)

WriteLandscape = Callable[..., Path]
MakeCloud = Callable[..., Cloud]


def ground_at(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gentle hills between 90 and 110."""
    return 100 + 6 * np.sin(x / 30) + 4 * np.cos(y / 25)


@pytest.fixture
def write_landscape(tmp_path: Path) -> WriteLandscape:
    """Write hills with a hall of 30 x 40 units, 12 high, and trees, 8 high, on a third of them.

    `scale` makes the units smaller: 0.3048 writes the same landscape, given in metres, in feet.
    """

    def write(name: str = "hills.las", *, classified: bool = True, scale: float = 1.0) -> Path:
        random = np.random.default_rng(5)
        x, y = random.uniform(0, SIDE, (2, 60_000))
        ground = ground_at(x, y)
        hall = (x > 40) & (x < 70) & (y > 50) & (y < 90)
        tree = (x > 80) & (random.random(len(x)) < 0.5)
        header = laspy.LasHeader(point_format=6, version="1.4")
        header.scales, header.offsets = [0.001] * 3, [*CORNER, 0.0]
        las = laspy.LasData(header)
        las.x, las.y = x / scale + CORNER[0], y / scale + CORNER[1]
        las.z = (ground + np.where(hall, 12, 0) + np.where(tree, 8, 0)) / scale
        if classified:
            las.classification = np.select([hall, tree], [6, 5], 2).astype(np.uint8)
        path = tmp_path / name
        las.write(path)
        return path

    return write


@pytest.fixture
def make_cloud(tmp_path: Path) -> MakeCloud:
    """Mill a file, as far as products with these needs ask for it."""

    def make(
        path: Path,
        *needs: Need,
        crs: str | None = "EPSG:25832+5783",
        workers: int = 1,
        resolution: float | None = None,
        classify_ground: bool = False,
        settings: Settings | None = None,
    ) -> Cloud:
        source = read_source(path)
        found = find_crs(source, crs)
        folder = tmp_path / f"{path.stem}-{len(list(tmp_path.iterdir()))}"
        scratch = folder / "scratch"
        scratch.mkdir(parents=True)
        order = Order(
            source=source,
            crs=found,
            copc=folder / "copc.laz",
            scratch=scratch,
            workers=workers,
            memory_bytes=workers << 30,
            needs=frozenset(needs),
            resolution=resolution,
            classify_ground=classify_ground,
        )
        milled = mill(order, Meter(lambda _stage, _fraction, _message, _left: None))
        return Cloud(source, found, milled, order.copc, scratch, settings or Settings())

    return make

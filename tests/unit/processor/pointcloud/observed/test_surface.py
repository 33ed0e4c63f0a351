"""Clouds around the origin: cells on both sides of it never become one."""

from pathlib import Path

import laspy
import numpy as np
import pytest

from tests.unit.processor.pointcloud.ingesting import ingest, read_product


@pytest.mark.timeout(20)
@pytest.mark.parametrize("reach", [(-5, 5), (-1, 1), (-1000, 3)])
def test_a_thin_cloud_around_the_origin_comes_to_an_end(
    tmp_path: Path, reach: tuple[int, int]
) -> None:
    las = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    las.x, las.y, las.z = (np.array(reach, float),) * 3
    las.write(tmp_path / "cross.las")
    outcome = ingest(tmp_path / "cross.las", tmp_path, products=["info", "boundary", "density"])
    assert read_product(outcome, "info")["points"] == 2

"""What a page uses to read COPC, npm's copc and laz-perf, reads ours; many pages of nodes included."""

import json
import subprocess
from pathlib import Path

import pytest

from services.processor.pointcloud import miller, plan
from services.processor.pointcloud.octree import hierarchy
from services.processor.tasks.pointcloud_ingest import Params
from tests.bench.engine.airborne import write_airborne
from tests.e2e.uploading import node
from tests.fixtures.ingest import ingest

BROWSER = Path(__file__).parents[2] / "browser"
POINTS = 60_000


@pytest.mark.parametrize("point_format", [6, 7, 8])
def test_a_browser_finds_every_point_through_many_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point_format: int
) -> None:
    # As if the cloud were so large that its hierarchy has pages.
    monkeypatch.setattr(plan, "LEAF_POINTS", 200)
    monkeypatch.setattr(miller, "LEAST_POINTS", 0)
    for name, limit in (("_WHOLE", 40), ("_LEVELS", 2), ("_SMALL", 3)):
        monkeypatch.setattr(hierarchy, name, limit)
    source, out = tmp_path / "cloud.laz", tmp_path / "out"
    write_airborne(source, POINTS, point_format)
    milled = ingest(source, tmp_path, Params(products=[]))

    assert (BROWSER / "node_modules").is_dir(), "npm ci --prefix tests/browser is to be run first"
    said = subprocess.run(
        [node(), BROWSER / "verify.mjs"],
        input=f"{out / 'copc.laz'}\n",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(said.stdout)
    assert found["problems"] == []
    assert found["points"] == POINTS
    assert found["pages"] > 3
    assert found["nodes"] >= milled.result.nodes > 100

"""Khronos' own validator finds nothing wrong with our tiles, whatever cloud they are of."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from services.processor.pointcloud import plan
from services.processor.tasks.pointcloud_ingest import Params
from tests.bench.engine.airborne import write_airborne
from tests.e2e.uploading import node
from tests.fixtures.ingest import ingest

BROWSER = Path(__file__).parents[2] / "browser"


@pytest.mark.parametrize(("point_format", "crs"), [(7, None), (6, "EPSG:2274"), (8, "EPSG:32610")])
def test_every_tile_is_valid_gltf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point_format: int, crs: str | None
) -> None:
    monkeypatch.setattr(plan, "LEAF_POINTS", 5000)
    source, out = tmp_path / "cloud.laz", tmp_path / "out"
    write_airborne(source, 40_000, point_format)
    ingest(source, tmp_path, Params(products=["tiles3d"], crs=crs))
    with zipfile.ZipFile(out / "tiles.3tz") as archive:
        archive.extractall(tmp_path / "tiles")
    tiles = sorted((tmp_path / "tiles").glob("*.glb"))
    assert len(tiles) > 5

    assert (BROWSER / "node_modules").is_dir(), "npm ci --prefix tests/browser is to be run first"
    said = subprocess.run(
        [node(), BROWSER / "tiles.mjs"],
        input="".join(f"{tile}\n" for tile in tiles),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    findings = [json.loads(line) for line in said.stdout.splitlines()]
    assert len(findings) == len(tiles)
    assert [finding for finding in findings if finding["problems"]] == []

"""3D Tiles of whole clouds: every point once, where it is on Earth, in an archive that others read."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copclib
import laspy
import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from services.processor.pointcloud import mill, miller, plan
from services.processor.task import GIBIBYTE, Work
from services.processor.tasks.pointcloud_ingest import TASK, Params
from tests.fixtures.tiles import Archive, box_of, read_glb, tiles_of

WriteCloud = Callable[..., Path]
Change = Callable[[laspy.LasData], None]
UTM = "EPSG:32633"
FEET = "EPSG:2274+6360"


def draw(source: Path, folder: Path, *, workers: int = 1, crs: str | None = UTM) -> Path:
    """Mill the source with 3D Tiles; the folder of the products."""
    out, scratch = folder / "out", folder / "scratch"
    for made in (folder, out, scratch):
        made.mkdir(exist_ok=True)
    work = Work(
        source=source,
        source_name=source.name,
        out=out,
        scratch=scratch,
        memory_bytes=workers * GIBIBYTE,
        workers=workers,
        progress=lambda *_: None,
        log=lambda _: None,
    )
    TASK.run(Params(products=["tiles3d"], crs=crs), work)
    return out


@pytest.fixture
def many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small clouds have many nodes."""
    monkeypatch.setattr(plan, "LEAF_POINTS", 1000)
    monkeypatch.setattr(miller, "LEAST_POINTS", 0)


def tileset_of(out: Path) -> tuple[Archive, dict[str, Any]]:
    archive = Archive(out / "tiles.3tz")
    return archive, json.loads(archive.read("tileset.json"))


def coordinates(product: Path) -> dict[str, NDArray[np.float64]]:
    """The coordinates of the points of each node of a COPC file, in their order."""
    reader = copclib.FileReader(str(product))
    header = reader.copc_config.las_header
    scale, offset = (np.array([part.x, part.y, part.z]) for part in (header.scale, header.offset))
    found = {}
    for node in reader.GetAllNodes():
        if node.point_count:
            key = node.key
            data = np.array(reader.GetPointData(node), np.int8).view(np.uint8)
            rows = data.reshape(node.point_count, -1)[:, :12].copy().view("<i4")
            found[f"{key.d}-{key.x}-{key.y}-{key.z}.glb"] = rows * scale + offset
    return found


@pytest.mark.usefixtures("many_nodes")
@pytest.mark.parametrize(
    ("crs", "scale", "offset", "unit"),
    [
        (UTM, 0.001, (500_000.0, 4_000_000.0, 0.0), 1.0),
        (FEET, 0.01, (1_740_000.0, 600_000.0, 500.0), 12 / 39.37),
        ("EPSG:4326", 1e-7, (12.0, 47.0, 0.0), 1.0),
    ],
)
def test_every_point_lies_within_a_centimetre_of_its_place_on_earth(
    write_cloud: WriteCloud,
    tmp_path: Path,
    crs: str,
    scale: float,
    offset: tuple[float, float, float],
    unit: float,
) -> None:
    def move(las: laspy.LasData) -> None:
        # The integers stay.
        las.header.offsets = las.points.offsets = np.array(offset)
        las.header.scales = las.points.scales = np.array([scale, scale, 0.01])

    source = write_cloud("cloud.laz", points=20_000, change=move)
    out = draw(source, tmp_path / "drawn", crs=crs)

    archive, tileset = tileset_of(out)
    to_earth = np.array(tileset["root"]["transform"]).reshape(4, 4).T
    flat = Transformer.from_crs(
        CRS(crs).sub_crs_list[0] if "+" in crs else crs, 4326, always_xy=True
    )
    geocentric = Transformer.from_crs(4979, 4978, always_xy=True)
    nodes = coordinates(out / "copc.laz")
    assert len(nodes) > 10
    for name, places in nodes.items():
        found = read_glb(archive.read(name)).positions @ to_earth[:3, :3].T + to_earth[:3, 3]
        x, y, z = places.T
        expected = np.stack(geocentric.transform(*flat.transform(x, y), z * unit), axis=1)
        assert np.abs(found - expected).max() < 0.01
    drawn = {tile["content"]["uri"] for tile, _ in tiles_of(tileset) if "content" in tile}
    assert drawn == set(nodes)


@pytest.mark.usefixtures("many_nodes")
def test_tiles_lie_in_their_parents_and_show_less_the_coarser_they_are(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    out = draw(write_cloud(points=20_000), tmp_path / "drawn")
    archive, tileset = tileset_of(out)
    assert tileset["asset"]["version"] == "1.1"
    assert tileset["root"]["refine"] == "ADD"
    assert tileset["geometricError"] > tileset["root"]["geometricError"]
    for tile, parent in tiles_of(tileset):
        low, high = box_of(tile)
        places = read_glb(archive.read(tile["content"]["uri"])).positions
        assert (low <= places).all()
        assert (places <= high).all()
        assert (tile["geometricError"] == 0) == ("children" not in tile)
        if parent:
            parent_low, parent_high = box_of(parent)
            assert (parent_low <= low + 0.002).all()
            assert (high - 0.002 <= parent_high).all()
            assert tile["geometricError"] < parent["geometricError"]


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_colours_are_linear_and_what_las_says_of_a_point_goes_along(
    write_cloud: WriteCloud, tmp_path: Path, bits: int
) -> None:
    def paint(las: laspy.LasData) -> None:
        las.red, las.green, las.blue = (
            np.arange(1000) % 2 * (value << bits - 8) for value in (255, 128, 0)
        )

    out = draw(write_cloud(change=paint), tmp_path / "drawn")
    tile = read_glb(Archive(out / "tiles.3tz").read("0-0-0-0.glb"))
    # The inverse of the sRGB curve: 128 of 255 is 0.2158 of the light.
    assert np.unique(tile.attributes["COLOR_0"], axis=0).tolist() == [
        [0, 0, 0, 255],
        [255, 55, 0, 255],
    ]
    source = laspy.read(tmp_path / "cloud.las")
    for name, values in (
        ("_INTENSITY", source.intensity),
        ("_CLASSIFICATION", source.classification),
    ):
        assert np.array_equal(np.sort(tile.attributes[name]), np.sort(np.array(values)))
    metadata = tile.document["extensions"]["EXT_structural_metadata"]
    properties = metadata["schema"]["classes"]["point"]["properties"]
    assert {name: kind["componentType"] for name, kind in properties.items()} == {
        "intensity": "UINT16",
        "classification": "UINT8",
    }


@pytest.mark.parametrize(("intensities", "tint"), [((0, 60_000), "intensity"), ((7, 7), "height")])
def test_points_without_colours_are_told_apart_by_intensity_or_height(
    write_cloud: WriteCloud, tmp_path: Path, intensities: tuple[int, int], tint: str
) -> None:
    def shade(las: laspy.LasData) -> None:
        las.intensity = np.linspace(*intensities, 1000)

    out = draw(write_cloud(point_format=6, change=shade), tmp_path / "drawn")
    archive, tileset = tileset_of(out)
    assert tileset["asset"]["extras"]["coloured_by"] == tint
    tile = read_glb(archive.read("0-0-0-0.glb"))
    colours = tile.attributes["COLOR_0"].astype(int)
    values = tile.attributes["_INTENSITY"] if tint == "intensity" else tile.positions[:, 2]
    ordered = colours[np.argsort(values)]
    assert ordered[-10:, :3].min() > ordered[:10, :3].max()
    assert ("_INTENSITY" in tile.attributes) == (tint == "intensity")


def test_a_cloud_that_could_be_anywhere_keeps_its_own_directions(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    out = draw(write_cloud(), tmp_path / "drawn", crs=None)
    archive, tileset = tileset_of(out)
    extras = tileset["asset"]["extras"]
    assert "transform" not in tileset["root"]
    assert extras["georeferenced"] is False
    assert any("unknown" in note for note in extras["notes"])
    places = read_glb(archive.read("0-0-0-0.glb")).positions + extras["origin_in_source_crs"]
    (expected,) = coordinates(out / "copc.laz").values()
    assert np.abs(places - expected).max() < 0.001


def test_what_heights_are_taken_for_is_said(write_cloud: WriteCloud, tmp_path: Path) -> None:
    out = draw(write_cloud(), tmp_path / "drawn", crs="EPSG:25832+7837")
    notes = tileset_of(out)[1]["asset"]["extras"]["notes"]
    assert any("DHHN2016" in note and "ellipsoid" in note for note in notes)


@pytest.mark.usefixtures("many_nodes")
def test_the_archive_is_the_same_for_any_number_of_processes(
    write_cloud: WriteCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_USUAL_CELL", 2000)
    source = write_cloud("cloud.laz", points=30_000)
    archives = [(draw(source, tmp_path / "alone") / "tiles.3tz").read_bytes()]
    monkeypatch.setattr(mill, "_ALONE_POINTS", 0)
    for workers in (1, 3):
        out = draw(source, tmp_path / f"{workers}", workers=workers)
        archives.append((out / "tiles.3tz").read_bytes())
    assert len(set(archives)) == 1


def test_a_reader_finds_every_file_by_the_index(write_cloud: WriteCloud, tmp_path: Path) -> None:
    path = draw(write_cloud(), tmp_path / "drawn") / "tiles.3tz"
    archive = Archive(path)
    with zipfile.ZipFile(path) as plain:
        assert plain.testzip() is None
        names = plain.namelist()
        assert names[0] == "tileset.json"
        assert len(archive.index) == len(names) - 1
        for name in names[:-1]:
            assert archive.read(name) == plain.read(name)
    assert [entry[:2] for entry in archive.index] == sorted(entry[:2] for entry in archive.index)


def test_a_heap_of_points_at_one_place_is_drawn_as_one(
    write_cloud: WriteCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "LEAF_POINTS", 500)
    monkeypatch.setattr(plan, "_CELL_BYTES", 500 * 36)

    def heap(las: laspy.LasData) -> None:
        for name in ("X", "Y", "Z"):
            las[name][:1500] = 50_000

    source = write_cloud(points=2000, change=heap)
    out = draw(source, tmp_path / "drawn")
    archive, tileset = tileset_of(out)
    counts = [
        len(read_glb(archive.read(tile["content"]["uri"])).positions)
        for tile, _ in tiles_of(tileset)
        if "content" in tile
    ]
    assert 500 < sum(counts) < 600


def test_there_are_no_tiles_of_nothing_and_the_certificate_says_so(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    out = draw(write_cloud(points=0), tmp_path / "drawn")
    assert not (out / "tiles.3tz").exists()
    certificate = json.loads((out / "certificate.json").read_text())
    assert "no points" in certificate["products_left_out"]["tiles3d"]

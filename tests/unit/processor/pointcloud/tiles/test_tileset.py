"""Tileset files: a tile for each node, gaps bridged, very large trees in several files."""

import itertools

import pytest

from services.processor.pointcloud.octree.morton import Key
from services.processor.pointcloud.tiles import tileset
from services.processor.pointcloud.tiles.tiles import Tile
from services.processor.pointcloud.tiles.tileset import tilesets
from tests.fixtures.tiles import tiles_of

ASSET = {"version": "1.1"}


def tile(key: Key) -> Tile:
    """A tile that fills its node of a cube of 64 m."""
    side = 64 / 2 ** key[0]
    x, y, z = (number * side for number in key[1:])
    return Tile(key, 1, "segment", 0, 1, (x, y, z), (x + side, y + side, z + side))


def whole_tree(levels: int) -> list[Tile]:
    return [
        tile((level, *place))
        for level in range(levels)
        for place in itertools.product(range(2**level), repeat=3)
    ]


def test_a_node_without_points_is_a_tile_without_content() -> None:
    ((name, content),) = tilesets([tile((0, 0, 0, 0)), tile((3, 7, 0, 0))], None, ASSET)
    assert name == "tileset.json"
    assert content["asset"] == ASSET
    assert [found.get("content") for found, _ in tiles_of(content)] == [
        {"uri": "0-0-0-0.glb"},
        None,
        None,
        {"uri": "3-7-0-0.glb"},
    ]
    # What is empty is as large as what hangs on it.
    assert len({str(found["boundingVolume"]) for found, _ in list(tiles_of(content))[1:]}) == 1


def test_a_box_is_around_all_that_hangs_on_a_tile() -> None:
    ((_, content),) = tilesets([tile((1, 0, 0, 0)), tile((2, 3, 3, 3))], None, ASSET)
    assert content["root"]["boundingVolume"]["box"][:4] == [32.0, 32.0, 32.0, 32.001]


def test_a_very_large_tree_is_in_several_files_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tileset, "_WHOLE", 50)
    monkeypatch.setattr(tileset, "_LEVELS", 2)
    tiles = whole_tree(4)
    files = dict(tilesets(tiles, [1.0] * 16, ASSET))
    assert len(files) == 1 + 8**2
    assert "transform" in files["tileset.json"]["root"]
    assert not any("transform" in files[name]["root"] for name in list(files)[1:])
    found = [part["content"]["uri"] for content in files.values() for part, _ in tiles_of(content)]
    assert sorted(uri for uri in found if uri.endswith("json")) == sorted(list(files)[1:])
    assert sorted(uri for uri in found if uri.endswith("glb")) == sorted(
        f"{'-'.join(map(str, part.key))}.glb" for part in tiles
    )


def test_a_tree_of_usual_size_is_in_one_file() -> None:
    assert [name for name, _ in tilesets(whole_tree(4), None, ASSET)] == ["tileset.json"]

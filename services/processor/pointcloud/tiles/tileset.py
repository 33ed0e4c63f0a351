"""The tileset.json of an octree: every node a tile, which adds its points to those of its parents.

Of a cloud with very many nodes a subtree every few levels is a tileset of its own, so that a viewer
reads what it shows.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from services.processor.pointcloud.octree.morton import Key, ancestor
from services.processor.pointcloud.tiles.tiles import Corner, Tile

_WHOLE = 50_000
_LEVELS = 4
_ERROR = 16
"""A tile's geometric error is this part of its size: eight times the distance of its points. At the
usual limit of 16 pixels its children are loaded when its points are two pixels apart."""

_FINEST = 1000
"""Boxes are given in steps of a millimetre."""


@dataclass
class _Branch:
    """A node with what hangs on it; the box is around all of it."""

    key: Key
    tile: Tile | None
    low: Corner
    high: Corner
    children: list["_Branch"]

    @property
    def size(self) -> float:
        return max(high - low for low, high in zip(self.low, self.high, strict=True))


def tilesets(
    tiles: Iterable[Tile], transform: Iterable[float] | None, asset: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and contents of the files; `tileset.json` comes first. There must be a tile."""
    ordered = sorted(tiles, key=lambda tile: tile.key)
    root = _grown(ordered)
    own = len(ordered) > _WHOLE
    first = _file(root, asset, split=own)
    if transform is not None:
        first["root"]["transform"] = list(transform)
    yield "tileset.json", first
    if own:
        for branch in _stations(root):
            yield _name(branch.key, "json"), _file(branch, asset, split=True)


def content_name(key: Key) -> str:
    """The name of a node's tile."""
    return _name(key, "glb")


def _name(key: Key, ending: str) -> str:
    return f"{'-'.join(map(str, key))}.{ending}"


def _grown(tiles: list[Tile]) -> _Branch:
    """The tree of these tiles; a node without points of its own hangs between those that have."""
    by_key = {tile.key: tile for tile in tiles}
    keys = {ancestor(key, level) for key in by_key for level in range(key[0] + 1)}
    hanging: dict[Key, list[_Branch]] = defaultdict(list)
    for key in sorted(keys, reverse=True):
        children, tile = hanging.pop(key, [])[::-1], by_key.get(key)
        parts: list[_Branch | Tile] = [*children, *([tile] if tile else [])]
        low = tuple(min(ends) for ends in zip(*(part.low for part in parts), strict=True))
        high = tuple(max(ends) for ends in zip(*(part.high for part in parts), strict=True))
        branch = _Branch(key, tile, low, high, children)
        if key[0]:
            hanging[ancestor(key, key[0] - 1)].append(branch)
    return branch


def _file(top: _Branch, asset: dict[str, Any], *, split: bool) -> dict[str, Any]:
    root = _described(top, split=split, top=True)
    return {"asset": asset, "geometricError": round(top.size, 4), "root": root}


def _described(branch: _Branch, *, split: bool, top: bool = False) -> dict[str, Any]:
    tile: dict[str, Any] = {
        "boundingVolume": {"box": _box(branch)},
        "geometricError": round(branch.size / _ERROR, 4) if branch.children else 0,
    }
    if top:
        tile["refine"] = "ADD"
    elif split and _is_station(branch):
        tile["content"] = {"uri": _name(branch.key, "json")}
        return tile
    if branch.tile:
        tile["content"] = {"uri": content_name(branch.key)}
    if branch.children:
        tile["children"] = [_described(child, split=split) for child in branch.children]
    return tile


def _is_station(branch: _Branch) -> bool:
    """Whether a branch is a file of its own."""
    return bool(branch.children) and branch.key[0] > 0 and branch.key[0] % _LEVELS == 0


def _stations(root: _Branch) -> Iterator[_Branch]:
    for child in root.children:
        if _is_station(child):
            yield child
        yield from _stations(child)


def _box(branch: _Branch) -> list[float]:
    """Middle and half axes, a little wider than what is in it."""
    middle, half = [], []
    for low, high in zip(branch.low, branch.high, strict=True):
        middle.append(round((low + high) / 2, 3))
        half.append((math.ceil((high - low) / 2 * _FINEST) + 1) / _FINEST)
    x, y, z = half
    return [*middle, x, 0, 0, 0, y, 0, 0, 0, z]

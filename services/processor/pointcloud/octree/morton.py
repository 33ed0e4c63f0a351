"""Where a point lies in the octree, as a Morton code: three bits per level, x before y before z."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.records import Records

Codes = NDArray[np.uint64]
Places = NDArray[np.int32]
Key = tuple[int, int, int, int]
"""An octree node: level, x, y, z. The root is (0, 0, 0, 0)."""

CODE_LEVELS = 21
"""Levels that one 64-bit code can tell apart."""

_SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
_BLOCK = 1 << 16
"""Points whose intermediate results fit into a processor's cache."""


@dataclass(frozen=True)
class Cube:
    """The octree's cube: its lowest corner and its side, in units of the coordinates.

    `scales` and `offsets` are the source's: `coordinate = int * scale + offset`.
    """

    corner: tuple[float, float, float]
    side: float
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]


def places_within(records: Records, cube: Cube, node: Key, levels: int) -> list[Places]:
    """Where records that lie in `node` lie along x, y and z: 0 to 2**levels - 1.

    Scaling by powers of two is exact in floating point, so places in different nodes and at
    different levels agree about every point: a point never changes its node with the depth one
    looks at.
    """
    depth = node[0] + levels
    places = []
    for axis, name in enumerate(("X", "Y", "Z")):
        scale, offset = cube.scales[axis], cube.offsets[axis]
        found = np.empty(len(records), np.int32)
        for start in range(0, len(records), _BLOCK):
            place = records[name][start : start + _BLOCK].astype(np.float64)
            place -= (cube.corner[axis] - offset) / scale
            place *= scale / cube.side * 2.0**depth
            np.floor(place, out=place)
            if node[1 + axis]:
                place -= float(node[1 + axis]) * 2.0**levels
            np.clip(place, 0, 2.0**levels - 1, out=place)
            found[start : start + _BLOCK] = place
        places.append(found)
    return places


def codes_within(records: Records, cube: Cube, node: Key, levels: int) -> Codes:
    """The Morton codes of records that lie in `node`, for the `levels` levels below it."""
    return interleave(places_within(records, cube, node, levels))


def interleave(places: Sequence[Places]) -> Codes:
    """The Morton codes of places along x, y and z, each of at most CODE_LEVELS bits."""
    codes = np.empty(len(places[0]), np.uint64)
    for start in range(0, len(codes), _BLOCK):
        code = _spread(places[0][start : start + _BLOCK])
        for place in places[1:]:
            code <<= np.uint64(1)
            code |= _spread(place[start : start + _BLOCK])
        codes[start : start + _BLOCK] = code
    return codes


def child_keys(node: Key, levels: int, codes: Codes) -> list[Key]:
    """The keys of the nodes that `codes` name, `levels` levels below `node`."""
    axes = [_squeeze(codes >> np.uint64(2 - axis)) for axis in range(3)]
    return [
        (
            node[0] + levels,
            (node[1] << levels) + x,
            (node[2] << levels) + y,
            (node[3] << levels) + z,
        )
        for x, y, z in zip(*(axis.tolist() for axis in axes), strict=True)
    ]


def ancestor(key: Key, level: int) -> Key:
    """The node at `level` that holds the node `key`."""
    up = key[0] - level
    return (level, key[1] >> up, key[2] >> up, key[3] >> up)


def _spread(places: Places) -> Codes:
    """Two zero bits between every two bits."""
    value = places.astype(np.uint64)
    shifted = np.empty_like(value)
    for shift, mask in _SPREAD:
        np.left_shift(value, np.uint64(shift), out=shifted)
        value |= shifted
        value &= np.uint64(mask)
    return value


def _squeeze(value: Codes) -> Codes:
    """Every third bit; the opposite of `_spread`."""
    value = value & np.uint64(_SPREAD[-1][1])
    masks = [*(mask for _, mask in reversed(_SPREAD[:-1])), 0x1FFFFF]
    for (shift, _), mask in zip(reversed(_SPREAD), masks, strict=True):
        value = (value | (value >> np.uint64(shift))) & np.uint64(mask)
    return value


def enclosing_node(
    low: tuple[float, ...], high: tuple[float, ...], cube: Cube, within: Key, deepest: int
) -> Key:
    """The smallest node below `within` that holds all integer positions from `low` to `high`."""
    corners = np.zeros(2, [("X", "<i4"), ("Y", "<i4"), ("Z", "<i4")])
    for name, *ends in zip(("X", "Y", "Z"), low, high, strict=True):
        corners[name] = ends
    node = within
    while node[0] < deepest:
        codes = codes_within(corners, cube, node, 1)
        if codes[0] != codes[1]:
            break
        node = child_keys(node, 1, codes[:1])[0]
    return node

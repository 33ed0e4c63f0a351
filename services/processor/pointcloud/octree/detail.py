"""Level of detail: which octree node each point of a cell lives in.

Going down, the points of a node that are too many for a leaf are divided among its eight children.
Going up again, every inner node picks one point of each cell of its grid: the one with the smallest
of the points' pseudo-random numbers. A point lives where it is picked last, that is coarsest, or
else in its leaf. Grids nest (grids.py), so a node picks among what the nodes below it have picked:
every point is looked at once, and cells of the octree can be built apart from each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.octree.grids import GRID_LEVELS, GridKind, grid_cells
from services.processor.pointcloud.octree.morton import CODE_LEVELS, Key, Places, ancestor

Numbers = NDArray[np.uint64]
Indices = NDArray[np.intp]

DEEPEST = CODE_LEVELS - GRID_LEVELS
"""Levels below the cell that are told apart; a leaf there may have any number of points."""

_INDEX = np.uint64(0xFFFFFFFF)
_NOBODY = np.uint64((1 << 64) - 1)
_DENSE = 1 << 19
"""Up to this many grid cells are kept as one array, which fits into a processor's cache."""


@dataclass(frozen=True)
class Nodes:
    """The nodes that share the points of a cell.

    Attributes:
        keys: the nodes, coarse ones first; each has at least one point.
        counts: how many points each node has.
        order: indices of the cell's points, grouped by node, source order kept within each.
    """

    keys: list[Key]
    counts: list[int]
    order: Indices


def share_out(
    places: Sequence[Places], grid: GridKind, cell: Key, leaf_points: int, least: int = 0
) -> Nodes:
    """Give each point of `cell` to a node: the cell's ancestors, the cell, or its descendants.

    `places` are those of the points within the cell, CODE_LEVELS deep, in source order. A node of
    at most `leaf_points` points, or of points that lie at one place, is not divided further. Leaves
    of fewer than `least` points are left to the nodes above them.
    """
    tree = _divide(places, cell, leaf_points)
    node = _pick(places, grid, tree, cell[0])
    counts = np.bincount(node, minlength=len(tree.keys))
    present = np.flatnonzero(counts)
    keys, sizes, target = _without_small_leaves(
        [tree.keys[number] for number in present.tolist()], counts[present].tolist(), cell[0], least
    )
    renamed = np.zeros(len(tree.keys), np.uint16 if len(keys) < 1 << 16 else np.uint32)
    renamed[present] = target
    return Nodes(keys, sizes, np.argsort(renamed[node], kind="stable"))


@dataclass(frozen=True)
class _Tree:
    """The cell's ancestors, the cell and its descendants, numbered with the coarse ones first.

    Attributes:
        keys: of all nodes.
        parents: the number of each node's parent.
        leaf: for each point the number of its leaf.
        settled: for each depth below the cell the points whose leaf is there.
    """

    keys: list[Key]
    parents: Indices
    leaf: NDArray[np.int32]
    settled: list[Indices]


def _divide(places: Sequence[Places], cell: Key, leaf_points: int) -> _Tree:
    """The octree of the cell's points, down to the leaves."""
    points = len(places[0])
    keys = [ancestor(cell, level) for level in range(cell[0] + 1)]
    parents = [max(level - 1, 0) for level in range(cell[0] + 1)]
    leaf = np.full(points, cell[0], np.int32)
    # The points of the inner nodes of one depth, and for each of them its node's place in `inner`.
    left: Indices = np.arange(points)
    place = np.zeros(points, np.intp)
    inner = [cell[0]] if points > leaf_points else []
    settled = [left[:0] if inner else left]
    while inner:
        x, y, z = (axis[left] for axis in places)
        shift = CODE_LEVELS - len(settled)
        octant = (x >> shift & 1) << 2 | (y >> shift & 1) << 1 | (z >> shift & 1)
        child = 8 * place + octant
        counts = np.bincount(child, minlength=8 * len(inner))
        heaps = _heaps(counts, place, (x, y, z))
        for heap in heaps:
            counts[8 * heap : 8 * heap + 8] = 0
        children = np.flatnonzero(counts)
        number = np.full(len(counts), -1, np.int32)
        number[children] = np.arange(len(keys), len(keys) + len(children))
        if heaps:
            stays = number[child] < 0
            settled[-1] = np.concatenate([settled[-1], left[stays]])
            left, child = left[~stays], child[~stays]
        leaf[left] = number[child]
        for at in children.tolist():
            keys.append(_child(keys[inner[at >> 3]], at & 7))
            parents.append(inner[at >> 3])
        deeper = np.flatnonzero(counts > leaf_points) if len(settled) < DEEPEST else children[:0]
        inner = number[deeper].tolist()
        new_place = np.full(len(counts), -1, np.intp)
        new_place[deeper] = np.arange(len(deeper))
        place = new_place[child]
        goes_on = place >= 0
        settled.append(left[~goes_on])
        left, place = left[goes_on], place[goes_on]
    while not len(settled[-1]):
        # The last inner nodes have turned out to be heaps.
        settled.pop()
    return _Tree(keys, np.array(parents), leaf, settled)


def _heaps(counts: Indices, place: Indices, places: Sequence[Places]) -> list[int]:
    """Which inner nodes have all their points at one place, however deep one looks."""
    narrow = np.flatnonzero(np.count_nonzero(counts.reshape(-1, 8), axis=1) == 1)
    heaps = []
    for node in narrow.tolist():
        members = np.flatnonzero(place == node)
        if all((axis[members] == axis[members[0]]).all() for axis in places):
            heaps.append(node)
    return heaps


def _child(key: Key, octant: int) -> Key:
    level, x, y, z = key
    return (level + 1, 2 * x + (octant >> 2), 2 * y + (octant >> 1 & 1), 2 * z + (octant & 1))


def _pick(
    places: Sequence[Places], grid: GridKind, tree: _Tree, cell_level: int
) -> NDArray[np.int32]:
    """For each point the number of the node that shows it."""
    node = tree.leaf.copy()
    numbers = _numbers(len(node).bit_length())
    picked = tree.settled[-1]
    for depth in range(len(tree.settled) - 2, -cell_level - 1, -1):
        owner = tree.parents[node[picked]]
        first = int(owner.min())
        owners = int(owner.max()) - first + 1
        level = cell_level + depth
        cells, count = grid_cells([axis[picked] for axis in places], grid, level, depth)
        cells += (owner - first) * count
        winners, cells = _smallest(cells, numbers[picked], owners * count)
        node[winners] = first + cells // count
        # Nodes one level up pick among these, and among what is in leaves of this level.
        picked = np.concatenate([winners, tree.settled[depth]]) if depth >= 0 else winners
    return node


def _smallest(groups: Indices, numbers: Numbers, count: int) -> tuple[Indices, Indices]:
    """The point with the smallest number of each of `count` groups that has one, and its group."""
    if count <= _DENSE:
        smallest = np.full(count, _NOBODY)
        np.minimum.at(smallest, groups, numbers)
        found = np.flatnonzero(smallest != _NOBODY)
        smallest = smallest[found]
    else:
        order = np.argsort(groups)
        groups = groups[order]
        starts = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1])))
        found = groups[starts]
        smallest = np.minimum.reduceat(numbers[order], starts)
    return (smallest & _INDEX).astype(np.intp), found


@cache
def _numbers(bits: int) -> Numbers:
    """For each of 2**bits points a pseudo-random number above, and its index below 32 bits.

    The finisher of SplitMix64 (Steele, Lea and Flood 2014). The index decides between equal
    numbers: nothing depends on how a machine sorts.
    """
    index = np.arange(1 << bits, dtype=np.uint64)
    mixed = (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    numbers: Numbers = (mixed & ~_INDEX) | index
    numbers.flags.writeable = False
    return numbers


def _without_small_leaves(
    keys: list[Key], counts: list[int], cell_level: int, least: int
) -> tuple[list[Key], list[int], NDArray[np.uint32]]:
    """Keys and counts after leaves of the cell went to their parents; the new number of each node."""
    index = {key: number for number, key in enumerate(keys)}
    children = [0] * len(keys)
    for key in keys:
        if key[0] and (parent := index.get(ancestor(key, key[0] - 1))) is not None:
            children[parent] += 1
    goes_to = list(range(len(keys)))
    # Coarse nodes come first: from the end, a node's children are dealt with before it.
    for number in range(len(keys) - 1, -1, -1):
        key = keys[number]
        if key[0] < max(cell_level, 1) or counts[number] >= least or children[number]:
            continue
        parent = index.get(ancestor(key, key[0] - 1))
        if parent is not None:
            goes_to[number] = parent
            counts[parent] += counts[number]
            children[parent] -= 1
    kept = [number for number, target in enumerate(goes_to) if number == target]
    new = {number: at for at, number in enumerate(kept)}
    for number in range(len(keys)):
        goes_to[number] = goes_to[goes_to[number]]
    renamed = np.array([new[target] for target in goes_to], np.uint32)
    return [keys[number] for number in kept], [counts[number] for number in kept], renamed

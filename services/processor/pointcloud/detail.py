"""Level of detail: which octree node each point of a cell lives in.

Every point gets a pseudo-random number. A node shows one point of each cell of its grid: the one
with the smallest number, unless a coarser node already shows it. Grid cells of all levels nest, so
the minima of the finer grid give those of the coarser: one pass from fine to coarse labels all
points in linear time, and octree cells can be built apart from each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.grids import Grid
from services.processor.pointcloud.morton import CODE_LEVELS, Codes, Key, ancestor, child_keys

Levels = NDArray[np.int16]


@dataclass(frozen=True)
class Nodes:
    """The nodes that share the points of a cell.

    Attributes:
        keys: the nodes, coarse ones first; each has at least one point.
        counts: how many points each node has.
        order: indices of the cell's points, grouped by node, source order kept within each.
        neighbours: pairs of indices of points so close that their codes are equal.
    """

    keys: list[Key]
    counts: list[int]
    order: NDArray[np.intp]
    neighbours: tuple[NDArray[np.intp], NDArray[np.intp]]


def share_out(codes: Codes, grid: Grid, cell: Key, leaf_points: int, least: int = 0) -> Nodes:
    """Give each point of `cell` to a node: the cell's ancestors, the cell, or its descendants.

    `codes` are Morton codes of the points within the cell, CODE_LEVELS deep, in source order. A
    subtree of at most `leaf_points` points, or of points that lie at one place, is not divided
    further. Leaves of fewer than `least` points are left to the nodes above them.
    """
    by_place = np.argsort(codes)
    ordered = codes[by_place]
    leaf = _leaf_depths(ordered, leaf_points, grid.deepest)
    level = _levels_shown(grid, cell[0], int(leaf.max()))[by_place]
    np.minimum(level, leaf + np.int16(cell[0]), out=level)
    keys, node_of_ordered = _name_nodes(ordered, level, cell)
    counts = np.bincount(node_of_ordered, minlength=len(keys)).tolist()
    keys, counts, renamed = _without_small_leaves(keys, counts, cell[0], least)
    small = np.uint16 if len(keys) < 1 << 16 else np.uint32
    node = np.empty(len(codes), small)
    node[by_place] = renamed.astype(small)[node_of_ordered]
    order = np.argsort(node, kind="stable")
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    return Nodes(keys, counts, order, (by_place[same], by_place[same + 1]))


def _starts(prefix: Codes) -> NDArray[np.intp]:
    """Where each run of equal prefixes begins."""
    return np.flatnonzero(np.concatenate(([True], prefix[1:] != prefix[:-1])))


def _shifted(codes: Codes, depth: int) -> Codes:
    return codes >> np.uint64(3 * (CODE_LEVELS - depth)) if depth < CODE_LEVELS else codes


def _leaf_depths(ordered: Codes, leaf_points: int, deepest: int) -> Levels:
    """For each point the depth, below the cell, of the subtree that is not divided further."""
    depths = np.full(len(ordered), deepest, np.int16)
    for depth in range(deepest + 1):
        starts = _starts(_shifted(ordered, depth))
        ends = np.append(starts[1:], len(ordered))
        done = (ends - starts <= leaf_points) | (ordered[starts] == ordered[ends - 1])
        settled = np.repeat(done, ends - starts)
        depths[settled & (depths == deepest)] = depth
        if done.all():
            break
    return depths


def _levels_shown(grid: Grid, cell_level: int, deepest: int) -> Levels:
    """For each point, in source order, the coarsest level that shows it as one of its grid cell."""
    shown = np.full(len(grid.codes), cell_level + deepest, np.int16)
    if not cell_level + deepest:
        return shown
    by_grid = np.argsort(grid.codes)
    ordered = grid.codes[by_grid]
    numbers = _numbers(ordered, by_grid)
    for level in range(cell_level + deepest - 1, -1, -1):
        starts = _starts(grid.cells(ordered, level, cell_level))
        numbers = np.minimum.reduceat(numbers, starts)
        ordered = ordered[starts]
        shown[(numbers & np.uint64(0xFFFFFFFF)).astype(np.intp)] = level
    return shown


def _numbers(codes: Codes, source: NDArray[np.intp]) -> Codes:
    """A pseudo-random number for each point in the upper half, its place in the source below.

    That place decides between equal numbers, so that nothing depends on how points were sorted.
    """
    place = source.astype(np.uint64)
    mixed = codes ^ (place * np.uint64(0x100000001B3))
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed &= np.uint64(0xFFFFFFFF00000000)
    mixed |= place
    return mixed


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


def _name_nodes(ordered: Codes, level: Levels, cell: Key) -> tuple[list[Key], NDArray[np.uint32]]:
    """The nodes that have points, and for each point the number of its node."""
    node = np.empty(len(ordered), np.uint32)
    keys: list[Key] = []
    for at in np.unique(level).tolist():
        members = np.flatnonzero(level == at)
        if at <= cell[0]:
            node[members] = len(keys)
            keys.append(ancestor(cell, at))
            continue
        prefix = _shifted(ordered[members], at - cell[0])
        starts = _starts(prefix)
        node[members] = np.repeat(
            np.arange(len(keys), len(keys) + len(starts), dtype=np.uint32),
            np.diff(np.append(starts, len(members))),
        )
        keys += child_keys(cell, at - cell[0], prefix[starts])
    return keys, node

"""Level of detail: which octree node each point of a cell lives in.

Every point gets a pseudo-random number. A node shows one point of each of its 128 x 128 x 128 grid
cells: the one with the smallest number, unless a coarser node already shows it. Grid cells of all
levels nest, so the minima of the finer grid give those of the coarser: one pass from fine to coarse
labels all points in linear time, and cells can be built apart from each other.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.morton import CODE_LEVELS, Codes, Key, ancestor, child_keys

GRID_LEVELS = 7
"""A node's grid has 2**7 = 128 cells along each axis."""

_DEEPEST = CODE_LEVELS - GRID_LEVELS


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


def share_out(codes: Codes, cell: Key, leaf_points: int) -> Nodes:
    """Give each point of `cell` to a node: the cell's ancestors, the cell, or its descendants.

    `codes` are those of the points within the cell, CODE_LEVELS deep, in source order. A subtree of
    at most `leaf_points` points, or of points that lie at one place, is not divided further.
    """
    by_place = np.argsort(codes)
    ordered = codes[by_place]
    leaf_depth = _leaf_depths(ordered, leaf_points)
    level = np.minimum(
        _levels_shown(ordered, _numbers(ordered, by_place), cell[0], int(leaf_depth.max())),
        leaf_depth + cell[0],
    )
    keys, node_of_ordered = _name_nodes(ordered, level, cell)
    small = np.uint16 if len(keys) < 1 << 16 else np.uint32
    node = np.empty(len(codes), small)
    node[by_place] = node_of_ordered
    counts = np.bincount(node, minlength=len(keys))
    order = np.argsort(node, kind="stable")
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    return Nodes(keys, counts.tolist(), order, (by_place[same], by_place[same + 1]))


def _starts(prefix: Codes) -> NDArray[np.intp]:
    """Where each run of equal prefixes begins."""
    return np.flatnonzero(np.concatenate(([True], prefix[1:] != prefix[:-1])))


def _shifted(codes: Codes, depth: int) -> Codes:
    return codes >> np.uint64(3 * (CODE_LEVELS - depth)) if depth < CODE_LEVELS else codes


def _leaf_depths(ordered: Codes, leaf_points: int) -> NDArray[np.int16]:
    """For each point the depth, below the cell, of the subtree that is not divided further."""
    depths = np.full(len(ordered), _DEEPEST, np.int16)
    for depth in range(_DEEPEST + 1):
        starts = _starts(_shifted(ordered, depth))
        ends = np.append(starts[1:], len(ordered))
        done = (ends - starts <= leaf_points) | (ordered[starts] == ordered[ends - 1])
        settled = np.repeat(done, ends - starts)
        depths[settled & (depths == _DEEPEST)] = depth
        if done.all():
            break
    return depths


def _levels_shown(
    ordered: Codes, numbers: Codes, cell_level: int, deepest: int
) -> NDArray[np.int16]:
    """For each point the coarsest level at which it has the smallest number of its grid cell."""
    shown = np.full(len(ordered), cell_level + deepest, np.int16)
    for level in range(cell_level + deepest - 1, -1, -1):
        # Above the cell, one point stands for the whole cell where the grid is coarser than it.
        depth = max(level + GRID_LEVELS - cell_level, 0)
        starts = _starts(_shifted(ordered, depth))
        numbers = np.minimum.reduceat(numbers, starts)
        ordered = ordered[starts]
        shown[(numbers & np.uint64(0xFFFFFFFF)).astype(np.intp)] = level
    return shown


def _numbers(ordered: Codes, by_place: NDArray[np.intp]) -> Codes:
    """A pseudo-random number for each point in the upper half, its position in the lower."""
    mixed = ordered ^ (by_place.astype(np.uint64) * np.uint64(0x100000001B3))
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed &= np.uint64(0xFFFFFFFF00000000)
    mixed |= np.arange(len(ordered), dtype=np.uint64)
    return mixed


def _name_nodes(
    ordered: Codes, level: NDArray[np.int16], cell: Key
) -> tuple[list[Key], NDArray[np.uint32]]:
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

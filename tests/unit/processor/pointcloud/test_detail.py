"""Levels of detail: every point once, coarse levels thin and even, leaves small."""

import numpy as np

from services.processor.pointcloud.detail import GRID_LEVELS, Nodes, share_out
from services.processor.pointcloud.morton import CODE_LEVELS, Codes, ancestor, child_keys

ROOT = (0, 0, 0, 0)


def surface_codes(points: int) -> Codes:
    """Codes of points on a plane through the cube."""
    random = np.random.default_rng(points)
    x, y = random.integers(0, 1 << CODE_LEVELS, (2, points))
    code = np.zeros(points, np.uint64)
    for axis, values in enumerate((x, y, (x + y) // 4)):
        for bit in range(CODE_LEVELS):
            code |= ((values >> bit) & 1).astype(np.uint64) << np.uint64(3 * bit + 2 - axis)
    return code


def members(nodes: Nodes) -> dict[tuple[int, int, int, int], list[int]]:
    ends = np.cumsum(nodes.counts)
    return {
        key: nodes.order[end - count : end].tolist()
        for key, count, end in zip(nodes.keys, nodes.counts, ends, strict=True)
    }


def test_every_point_is_in_exactly_one_node() -> None:
    nodes = share_out(surface_codes(30_000), ROOT, 1000)
    assert sorted(nodes.order.tolist()) == list(range(30_000))
    assert sum(nodes.counts) == 30_000
    assert len(set(nodes.keys)) == len(nodes.keys)
    assert all(nodes.counts)


def test_every_point_lies_within_its_node() -> None:
    codes = surface_codes(20_000)
    deep = child_keys(ROOT, CODE_LEVELS, codes)
    for key, points in members(share_out(codes, ROOT, 500)).items():
        assert all(ancestor(deep[point], key[0]) == key for point in points)


def test_an_inner_node_shows_at_most_one_point_of_each_grid_cell() -> None:
    codes = surface_codes(60_000)
    deep = child_keys(ROOT, CODE_LEVELS, codes)
    shared = members(share_out(codes, ROOT, 2000))
    parents = {ancestor(key, key[0] - 1) for key in shared if key[0]}
    for key in parents & set(shared):
        cells = [ancestor(deep[point], key[0] + GRID_LEVELS) for point in shared[key]]
        assert len(cells) == len(set(cells))


def test_every_level_and_those_above_show_every_grid_cell_that_has_points() -> None:
    """What is loaded so far always covers the whole cloud: levels nest without gaps."""
    codes = surface_codes(60_000)
    deep = child_keys(ROOT, CODE_LEVELS, codes)
    shared = members(share_out(codes, ROOT, 2000))
    for level in range(2):
        shown = {
            ancestor(deep[point], level + GRID_LEVELS)
            for key, points in shared.items()
            if key[0] <= level
            for point in points
        }
        assert shown == {ancestor(key, level + GRID_LEVELS) for key in deep}


def test_a_subtree_of_few_points_is_one_node() -> None:
    nodes = share_out(surface_codes(999), ROOT, 1000)
    assert nodes.keys == [ROOT]
    assert nodes.order.tolist() == list(range(999)), "points keep the order of the source"


def test_points_at_one_place_make_one_node_however_many_they_are() -> None:
    nodes = share_out(np.full(5000, 12345, np.uint64), ROOT, 100)
    assert nodes.keys == [ROOT]
    assert len(nodes.neighbours[0]) == 4999


def test_a_cell_gives_points_to_all_its_ancestors() -> None:
    cell = (3, 5, 6, 7)
    nodes = share_out(surface_codes(20_000), cell, 1000)
    assert nodes.keys[:3] == [ancestor(cell, above) for above in range(3)]
    assert all(ancestor(key, 3) == cell for key in nodes.keys[3:])


def test_a_tiny_cell_gives_one_point_to_nodes_whose_grid_is_coarser_than_it() -> None:
    cell = (12, 5, 6, 7)
    nodes = share_out(surface_codes(20_000), cell, 1000)
    assert dict(zip(nodes.keys, nodes.counts, strict=True))[0, 0, 0, 0] == 1
    assert all(key == ancestor(cell, key[0]) for key in nodes.keys if key[0] <= 12)


def test_a_stray_far_from_all_others_makes_no_long_chain_of_nodes() -> None:
    codes = surface_codes(5000) >> np.uint64(3 * 10)
    codes[0] = (1 << 3 * CODE_LEVELS) - 1
    nodes = share_out(codes, ROOT, 1000)
    assert sum(nodes.counts) == 5000
    assert len(nodes.keys) < 40

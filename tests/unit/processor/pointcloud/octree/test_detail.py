"""Levels of detail: every point once, coarse levels thin and even, leaves small."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.processor.pointcloud.octree.detail import DEEPEST, Nodes, share_out
from services.processor.pointcloud.octree.grids import GRID_LEVELS, GridKind
from services.processor.pointcloud.octree.morton import (
    CODE_LEVELS,
    Key,
    ancestor,
    child_keys,
    interleave,
)

ROOT = (0, 0, 0, 0)
Places = NDArray[np.int32]
SIDE = 1 << CODE_LEVELS


both_grids = pytest.mark.parametrize("grid", ["cubes", "columns"])


def surface(points: int) -> Places:
    """Points on a plane through the cube."""
    random = np.random.default_rng(points)
    x, y = random.integers(0, SIDE, (2, points))
    return np.array([x, y, (x + y) // 4], np.int32)


def shared(
    places: Places, grid: GridKind, cell: Key = ROOT, *, leaf: int = 1000, least: int = 0
) -> Nodes:
    return share_out(list(places), grid, cell, leaf, least)


def members(nodes: Nodes) -> dict[Key, list[int]]:
    ends = np.cumsum(nodes.counts)
    return {
        key: nodes.order[end - count : end].tolist()
        for key, count, end in zip(nodes.keys, nodes.counts, ends, strict=True)
    }


def grid_cells(places: Places, grid: GridKind, level: int) -> list[tuple[int, ...]]:
    """The grid cell of each point for nodes at `level`, worked out in another way."""
    fine = CODE_LEVELS - level - GRID_LEVELS
    x, y, z = places.astype(np.int64)
    if grid == "columns":
        sharper = fine - 1 if level == 0 else fine
        return list(zip(x >> sharper, y >> fine, z >> (CODE_LEVELS - level), strict=True))
    return list(zip(x >> fine, y >> fine, z >> fine, strict=True))


@st.composite
def clouds(draw: st.DrawFn) -> Places:
    """Clouds of several kinds: spread, in heaps, on lines, with twins and with strays."""
    points = draw(st.integers(1, 400))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    reach = [1 << draw(st.integers(0, CODE_LEVELS)) for _ in range(3)]
    places = np.array([random.integers(0, limit, points) for limit in reach], np.int32)
    for _ in range(draw(st.integers(0, 3))):
        heap = random.integers(0, points, random.integers(1, points + 1))
        places[:, heap] = places[:, heap[:1]]
    if draw(st.booleans()):
        places[:, random.integers(0, points)] = SIDE - 1
    return places


any_cell = st.sampled_from([ROOT, (1, 0, 1, 1), (3, 5, 6, 7), (8, 200, 3, 77), (12, 9, 8, 7)])


@both_grids
@given(places=clouds(), cell=any_cell, leaf=st.integers(1, 60), least=st.integers(0, 30))
@settings(max_examples=150, deadline=None)
def test_every_point_is_in_exactly_one_node_and_lies_within_it(
    grid: GridKind, places: Places, cell: Key, leaf: int, least: int
) -> None:
    nodes = shared(places, grid, cell, leaf=leaf, least=least)
    assert sorted(nodes.order.tolist()) == list(range(places.shape[1]))
    assert sum(nodes.counts) == places.shape[1]
    assert all(nodes.counts)
    assert len(set(nodes.keys)) == len(nodes.keys)
    assert nodes.keys == sorted(nodes.keys, key=lambda key: key[0]), "coarse ones first"
    deep = child_keys(cell, CODE_LEVELS, interleave(places))
    for key, points in members(nodes).items():
        assert points == sorted(points), "points keep the order of the source"
        assert all(ancestor(deep[point], key[0]) == key for point in points)


@both_grids
@given(places=clouds(), leaf=st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_levels_are_monotone_each_refines_what_those_above_it_show(
    grid: GridKind, places: Places, leaf: int
) -> None:
    """Where a node is not a leaf, it and those above show every grid cell, and none twice."""
    nodes = members(shared(places, grid, leaf=leaf))
    deep = child_keys(ROOT, CODE_LEVELS, interleave(places))
    level_of = {point: key[0] for key, points in nodes.items() for point in points}
    for level in range(max(level_of.values())):
        cells = grid_cells(places, grid, level)
        inner = {ancestor(deep[point], level) for point, at in level_of.items() if at > level}
        whole = {cell for point, cell in enumerate(cells) if ancestor(deep[point], level) in inner}
        so_far = {cells[point] for point, at in level_of.items() if at <= level}
        assert whole <= so_far
        for key in inner & set(nodes):
            own = [cells[point] for point in nodes[key]]
            assert len(own) == len(set(own))


@both_grids
@given(places=clouds(), leaf=st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_a_crowded_node_without_children_shows_each_grid_cell_once_or_holds_one_place(
    grid: GridKind, places: Places, leaf: int
) -> None:
    nodes = members(shared(places, grid, leaf=leaf))
    codes = interleave(places)
    inner = {ancestor(key, level) for key in nodes for level in range(key[0])}
    for key, points in nodes.items():
        if key not in inner and key[0] < DEEPEST and len(points) > leaf:
            cells = grid_cells(places, grid, key[0])
            distinct = len({cells[point] for point in points}) == len(points)
            assert distinct or len(set(codes[points].tolist())) == 1


@both_grids
@given(places=clouds(), cell=any_cell, leaf=st.integers(1, 60), least=st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_the_same_points_are_shared_out_the_same_way_however_they_are_sorted(
    grid: GridKind, places: Places, cell: Key, leaf: int, least: int
) -> None:
    """Sorting equal codes is up to the machine: another order of them must change nothing."""
    first = shared(places, grid, cell, leaf=leaf, least=least)
    usual = np.argsort
    with pytest.MonkeyPatch.context() as patch:

        def other_way(codes: NDArray[np.intp], kind: str | None = None) -> NDArray[np.intp]:
            if kind == "stable":
                return usual(codes, kind="stable")
            return len(codes) - 1 - usual(codes[::-1], kind="stable")

        patch.setattr(np, "argsort", other_way)
        second = shared(places, grid, cell, leaf=leaf, least=least)
    assert members(first) == members(second)


@both_grids
def test_a_subtree_of_few_points_is_one_node(grid: GridKind) -> None:
    nodes = shared(surface(999), grid)
    assert nodes.keys == [ROOT]
    assert nodes.order.tolist() == list(range(999))


@both_grids
def test_points_at_one_place_make_one_node_however_many_they_are(grid: GridKind) -> None:
    nodes = shared(np.full((3, 5000), 12345, np.int32), grid, leaf=100)
    assert nodes.keys == [ROOT]


@both_grids
def test_a_cell_gives_points_to_all_its_ancestors(grid: GridKind) -> None:
    cell = (3, 5, 6, 7)
    nodes = shared(surface(20_000), grid, cell)
    assert nodes.keys[:3] == [ancestor(cell, above) for above in range(3)]
    assert all(ancestor(key, 3) == cell for key in nodes.keys[3:])


@both_grids
def test_a_tiny_cell_gives_one_point_to_nodes_whose_grid_is_coarser_than_it(
    grid: GridKind,
) -> None:
    nodes = shared(surface(20_000), grid, (12, 5, 6, 7))
    assert dict(zip(nodes.keys, nodes.counts, strict=True))[ROOT] == 1


@both_grids
def test_a_stray_far_from_all_others_makes_no_long_chain_of_nodes(grid: GridKind) -> None:
    places = surface(5000) >> 10
    places[:, 0] = SIDE - 1
    nodes = shared(places, grid)
    assert sum(nodes.counts) == 5000
    assert len(nodes.keys) < 40


@both_grids
def test_leaves_of_few_points_are_left_to_the_nodes_above(grid: GridKind) -> None:
    with_them = shared(surface(30_000), grid, leaf=300)
    without = shared(surface(30_000), grid, leaf=300, least=100)
    parents = {ancestor(key, key[0] - 1) for key in without.keys if key[0]}
    leaves = dict(zip(without.keys, without.counts, strict=True))
    assert min(with_them.counts) < 100 <= min(n for key, n in leaves.items() if key not in parents)
    assert sum(without.counts) == 30_000


def test_columns_show_as_many_points_of_a_wood_as_of_a_meadow_and_cubes_show_more() -> None:
    random = np.random.default_rng(5)
    x, y = random.integers(0, SIDE, (2, 200_000))
    high = random.integers(0, SIDE // 8, 200_000)
    places = np.array([x, y, np.where(x < SIDE // 2, high, 0)], np.int32)

    def wood_to_meadow(grid: GridKind) -> float:
        root = places[0, members(shared(places, grid, leaf=5000))[ROOT]]
        return float((root < SIDE // 2).sum() / (root >= SIDE // 2).sum())

    assert 0.95 < wood_to_meadow("columns") < 1.05
    assert wood_to_meadow("cubes") > 2

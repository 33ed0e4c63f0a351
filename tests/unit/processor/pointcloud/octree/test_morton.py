"""Octree addresses: every depth and every node agree about where a point lies."""

import numpy as np
import pytest

from services.processor.pointcloud.las.records import Records, record_dtype
from services.processor.pointcloud.octree.morton import (
    CODE_LEVELS,
    Cube,
    ancestor,
    child_keys,
    codes_within,
    enclosing_node,
)

CUBE = Cube((500.0, -20.0, 3.0), 1234.5, (0.001, 0.01, 0.1), (500.0, 0.0, 0.0))
ROOT = (0, 0, 0, 0)


def scattered(points: int) -> Records:
    random = np.random.default_rng(1)
    records = np.zeros(points, record_dtype(6))
    for name, scale, start in zip(("X", "Y", "Z"), CUBE.scales, (0.0, -20.0, 3.0), strict=True):
        records[name] = (start + random.random(points) * 1234.4) / scale
    return records


@pytest.mark.parametrize("levels", [1, 3, 9, 21])
def test_keys_at_one_level_are_ancestors_of_the_keys_at_a_finer_one(levels: int) -> None:
    records = scattered(500)
    coarse = child_keys(ROOT, levels, codes_within(records, CUBE, ROOT, levels))
    fine = child_keys(ROOT, 21, codes_within(records, CUBE, ROOT, 21))
    assert [ancestor(key, levels) for key in fine] == coarse


def test_codes_within_a_node_continue_those_from_the_root() -> None:
    records = scattered(500)
    whole = child_keys(ROOT, 21, codes_within(records, CUBE, ROOT, 21))
    for record, key in zip(records, whole, strict=True):
        node = ancestor(key, 8)
        within = codes_within(record.reshape(1), CUBE, node, 13)
        assert child_keys(node, 13, within) == [key]


def test_a_key_holds_the_coordinates_of_its_points() -> None:
    records = scattered(500)
    for record, key in zip(
        records, child_keys(ROOT, 6, codes_within(records, CUBE, ROOT, 6)), strict=True
    ):
        for axis, name in enumerate(("X", "Y", "Z")):
            place = record[name] * CUBE.scales[axis] + CUBE.offsets[axis]
            low = CUBE.corner[axis] + key[1 + axis] * CUBE.side / 64
            assert low - 1e-9 <= place <= low + CUBE.side / 64 + 1e-9


def test_positions_one_unit_apart_are_told_apart_deep_in_the_tree() -> None:
    records = np.zeros(2, record_dtype(6))
    records["X"], records["Y"], records["Z"] = [700_000, 700_001], -100, 100
    low = (700_000.0, -100.0, 100.0)
    node = enclosing_node(low, (700_001.0, -100.0, 100.0), CUBE, ROOT, 27)
    codes = codes_within(records, CUBE, node, CODE_LEVELS)
    assert codes[0] != codes[1]


def test_the_enclosing_node_holds_both_corners_and_its_children_do_not() -> None:
    low, high = (10_000.0, 0.0, 400.0), (10_900.0, 50.0, 405.0)
    node = enclosing_node(low, high, CUBE, ROOT, 27)
    ends = np.zeros(2, record_dtype(6))
    for name, *values in zip(("X", "Y", "Z"), low, high, strict=True):
        ends[name] = values
    keys = child_keys(ROOT, node[0] + 1, codes_within(ends, CUBE, ROOT, node[0] + 1))
    assert {ancestor(key, node[0]) for key in keys} == {node}
    assert keys[0] != keys[1]

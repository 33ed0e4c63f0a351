"""Hierarchy pages: every node is found from the root's page, by readers of others too."""

import struct
from pathlib import Path

import copclib
import laspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.processor.pointcloud import miller, plan
from services.processor.pointcloud.octree import hierarchy as pages
from services.processor.pointcloud.octree.chunks import Chunk
from services.processor.pointcloud.octree.hierarchy import hierarchy
from services.processor.pointcloud.octree.morton import Key, ancestor
from tests.unit.processor.pointcloud.conftest import MillFile, WriteCloud

ROOT = (0, 0, 0, 0)
START = 1000
PAGE_LIMITS = {"_WHOLE": 40, "_LEVELS": 2, "_SMALL": 3}


@st.composite
def trees(draw: st.DrawFn) -> list[Key]:
    """Keys of nodes with points: any, so that most have ancestors without."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    keys: set[Key] = set()
    for _ in range(draw(st.integers(0, 120))):
        level = int(random.integers(0, 9))
        x, y, z = random.integers(0, 1 << level, 3).tolist()
        keys.add((level, x, y, z))
    return sorted(keys)


def walk(packed: bytes, offset: int, size: int) -> list[tuple[Key, tuple[int, int, int]]]:
    """The entries of a page and of all pages that it refers to."""
    found = []
    for at in range(offset - START, offset - START + size, 32):
        level, x, y, z, where, length, points = struct.unpack_from("<4iQii", packed, at)
        if points == -1:
            below = walk(packed, where, length)
            assert (level, x, y, z) in dict(below), "a page tells of the node at its top itself"
            found += below
        else:
            found.append(((level, x, y, z), (where, length, points)))
    return found


@given(keys=trees())
@settings(max_examples=100, deadline=None)
def test_every_node_and_every_ancestor_is_in_exactly_one_page(keys: list[Key]) -> None:
    nodes = [(key, Chunk(7, "segment", 0, 10 + at)) for at, key in enumerate(keys)]
    offsets = [400 + 50 * at for at in range(len(keys))]
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in PAGE_LIMITS.items():
            patch.setattr(pages, name, limit)
        packed, root_size = hierarchy(nodes, offsets, START)
    found = walk(packed, START, root_size)
    whole = {ROOT, *keys, *(ancestor(key, level) for key in keys for level in range(key[0]))}
    assert len(found) == len(whole)
    assert {key for key, _ in found} == whole
    assert len(packed) >= 32 * len(found)
    entries = dict(found)
    for (key, chunk), offset in zip(nodes, offsets, strict=True):
        assert entries[key] == (offset, chunk.size, 7)
    assert all(entries[key] == (0, 0, 0) for key in whole - set(keys))


def test_a_tree_of_a_few_thousand_nodes_is_one_page_and_a_larger_one_is_not() -> None:
    def page_count(side: int) -> int:
        keys = [(6, x, y, 0) for x in range(side) for y in range(side)]
        nodes = [(key, Chunk(1, "segment", 0, 1)) for key in keys]
        packed, root_size = hierarchy(nodes, [0] * len(nodes), START)
        assert root_size <= 32 * 4096
        return len(packed) // 32 - len(walk(packed, START, root_size)) + 1

    assert page_count(40) == 1
    assert page_count(64) > 4


def test_readers_of_others_find_every_point_through_many_pages(
    write_cloud: WriteCloud, mill_file: MillFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, limit in PAGE_LIMITS.items():
        monkeypatch.setattr(pages, name, limit)
    monkeypatch.setattr(plan, "LEAF_POINTS", 200)
    monkeypatch.setattr(miller, "LEAST_POINTS", 0)
    milled = mill_file(write_cloud(points=60_000))
    assert milled.nodes > 100
    path = tmp_path / "out.copc.laz"
    with laspy.CopcReader.open(path) as reader:
        assert len(reader.query()) == 60_000
        assert len(reader.query(level=0)) < 60_000
    theirs = copclib.FileReader(str(path))
    assert sum(node.point_count for node in theirs.GetAllNodes()) == 60_000
    assert sum(node.point_count > 0 for node in theirs.GetAllNodes()) == milled.nodes

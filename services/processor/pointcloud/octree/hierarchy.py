"""The hierarchy of a COPC file: where each node's chunk lies, in pages that a reader fetches as needed.

COPC 1.0, "hierarchy VLR": an entry has a key, an offset, a size in bytes and a number of points; -1
points say that offset and size are those of another page, which has the entry of the same key itself.
"""

import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence

from services.processor.pointcloud.octree.chunks import Chunk
from services.processor.pointcloud.octree.morton import Key, ancestor

_ENTRY = struct.Struct("<4iQii")
_ROOT = (0, 0, 0, 0)
_WHOLE = 4096
"""A subtree of at most this many nodes is one page: 128 KiB are soon read."""

_LEVELS = 3
"""Levels of a page whose subtree is larger."""

_SMALL = 16
"""Subtrees of at most this many nodes are not worth a page of their own."""

Entry = tuple[int, int, int]
"""Offset, bytes and points of a node's chunk."""


def hierarchy(
    nodes: Sequence[tuple[Key, Chunk]], offsets: Sequence[int], start: int
) -> tuple[bytes, int]:
    """All pages, to be written at `start` of the file, and the size of the first: the root's.

    Every ancestor of a node has an entry; one without points has no chunk.
    """
    entries: dict[Key, Entry] = {
        key: (offset, chunk.size, chunk.points)
        for (key, chunk), offset in zip(nodes, offsets, strict=True)
    }
    for key in list(entries):
        for level in range(key[0] - 1, -1, -1):
            parent = ancestor(key, level)
            if parent in entries:
                break
            entries[parent] = (0, 0, 0)
    entries.setdefault(_ROOT, (0, 0, 0))
    pages = _pages(sorted(entries))
    places: dict[Key, Entry] = {}
    for root, keys in pages.items():
        places[root] = (start, _ENTRY.size * len(keys), -1)
        start += _ENTRY.size * len(keys)
    packed = b"".join(_page(root, keys, entries, places) for root, keys in pages.items())
    return packed, places[_ROOT][1]


def _page(
    root: Key, keys: list[Key], entries: Mapping[Key, Entry], places: Mapping[Key, Entry]
) -> bytes:
    def entry(key: Key) -> Entry:
        return places[key] if key in places and key != root else entries[key]

    return b"".join(_ENTRY.pack(*key, *entry(key)) for key in keys)


def _pages(keys: list[Key]) -> dict[Key, list[Key]]:
    """The keys of each page, by the key at its top; the root's is the first. `keys` are sorted."""
    children: dict[Key, list[Key]] = defaultdict(list)
    sizes = dict.fromkeys(keys, 1)
    for key in reversed(keys):
        if key[0]:
            parent = ancestor(key, key[0] - 1)
            sizes[parent] += sizes[key]
            children[parent].append(key)
    pages: dict[Key, list[Key]] = {}
    tops = [_ROOT]
    for top in tops:
        page, below = [], [top]
        for key in below:
            page.append(key)
            apart = key[0] == top[0] + _LEVELS and sizes[top] > _WHOLE and sizes[key] > _SMALL
            if apart:
                tops.append(key)
            else:
                below += reversed(children[key])
        pages[top] = page
    return pages

"""The cloud as 3D Tiles 1.1 in one file, for globes such as Cesium and for game engines.

The file is a 3D Tiles Archive (3TZ 1.3): a ZIP file of plain entries, with an index at its end by
which a reader finds a tile without reading the directory.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from services.processor.pointcloud.products.kind import Cloud, NotApplicable, ProductKind
from services.processor.pointcloud.tiles.tiles import Sketch, Tile
from services.processor.pointcloud.tiles.tileset import content_name, tilesets

_INDEX = "@3dtilesIndex1@"


def write(cloud: Cloud, path: Path) -> None:
    """Write the archive; raises NotApplicable for an empty cloud."""
    sketch, tiles = cloud.milled.sketch, sorted(cloud.milled.tiles)
    if sketch is None or not tiles:
        raise NotApplicable("The cloud has no points.")
    with ZipFile(path, "w") as archive:
        asset = {"version": "1.1", "extras": _extras(cloud, sketch)}
        for name, content in tilesets(tiles, sketch.placement.transform, asset):
            _add(
                archive, name, json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
            )
        for name, tile in _contents(tiles, cloud.scratch):
            _add(archive, name, tile)
        _add(archive, _INDEX, _index(archive.infolist()))


def _extras(cloud: Cloud, sketch: Sketch) -> dict[str, Any]:
    """What a tileset cannot say otherwise."""
    placement = sketch.placement
    return {
        "generator": "Pointmill",
        "points": cloud.milled.product.points,
        "coloured_by": sketch.tint,
        "georeferenced": placement.transform is not None,
        "source_crs": cloud.crs.name,
        "origin_in_source_crs": list(placement.middle),
        "notes": list(placement.notes),
    }


def _contents(tiles: list[Tile], scratch: Path) -> Iterator[tuple[str, memoryview]]:
    """Names and contents of the tiles; a content is there until the next one is asked for."""
    room = memoryview(bytearray(max(tile.size for tile in tiles)))
    with ExitStack() as files:
        # Unbuffered into the same memory: a copy inside the kernel is no cheaper than this.
        segments = {
            name: files.enter_context((scratch / name).open("rb", buffering=0))
            for name in sorted({tile.segment for tile in tiles})
        }
        for tile in tiles:
            segment, position = segments[tile.segment], 0
            segment.seek(tile.offset)
            while position < tile.size:
                got = segment.readinto(room[position : tile.size])
                if not got:
                    raise EOFError(f"the tiles in {tile.segment} are shorter than their index")
                position += got
            yield content_name(tile.key), room[: tile.size]


def _add(archive: ZipFile, name: str, content: bytes | memoryview) -> None:
    """Add a plain entry that is the same whenever it is made."""
    entry = ZipInfo(name)
    entry.compress_type = ZIP_STORED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _index(entries: list[ZipInfo]) -> bytes:
    """Where each entry begins, by the MD5 of its name as two little-endian numbers."""
    places = []
    for entry in entries:
        digest = hashlib.md5(entry.filename.encode(), usedforsecurity=False).digest()
        places.append((struct.unpack("<QQ", digest), entry.header_offset))
    return b"".join(struct.pack("<QQQ", *digest, at) for digest, at in sorted(places))


PRODUCT = ProductKind(
    name="tiles3d",
    file="tiles.3tz",
    media_type="application/vnd.maxar.archive.3tz+zip",
    title="3D Tiles 1.1 in one archive",
    needs=frozenset({"tiles"}),
    write=write,
)

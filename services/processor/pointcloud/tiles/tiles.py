"""Nodes of the octree as tiles of 3D Tiles 1.1: where their points lie, and what colours they have.

The numbers of colours in LAS are those of pictures (sRGB); glTF wants them linear. Points without
colours are grey by their intensity, or coloured by their height.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.observed.spots import colours_of
from services.processor.pointcloud.octree.morton import Key
from services.processor.pointcloud.octree.spill import write_whole
from services.processor.pointcloud.tiles.glb import PointForm
from services.processor.pointcloud.tiles.positions import Placement

Tint = Literal["colour", "intensity", "height"]
Corner = tuple[float, float, float]

TILE_BYTES = 24
"""Bytes of a point in a tile, at most."""

_MIDDLE_STEP = 2.0**-10
_GREYEST, _PALEST = 40, 250
_RAMP = ((44, 62, 108), (62, 128, 122), (150, 178, 92), (236, 205, 120), (250, 244, 230))
"""Colours of heights, lowest first, for clouds that have nothing better."""


@dataclass(frozen=True)
class Sketch:
    """How nodes become tiles.

    Attributes:
        placement: where their points lie.
        tint: what gives the points their colours.
        low, high: values of intensity or height between which colours differ.
        colour_shift: bits to drop so that a colour fits into 8.
        kept: which of `intensity` and `classification` go along.
    """

    placement: Placement
    tint: Tint
    low: float = 0.0
    high: float = 1.0
    colour_shift: int = 0
    kept: tuple[str, ...] = ()


class Tile(NamedTuple):
    """A tile: the node it shows, how many points, where its bytes are, and the box around it.

    The box is in the placement's metres.
    """

    key: Key
    points: int
    segment: str
    offset: int
    size: int
    low: Corner
    high: Corner


def sketch_of(placement: Placement, ranges: Ranges, sample: Records) -> Sketch:
    """How to draw a cloud of which `sample` are some records, evenly taken."""
    # Classes may still change: the ground may have to be found.
    differs = len(np.unique(sample["intensity"])) > 1
    kept = ("intensity", "classification") if differs else ("classification",)
    coloured, shift = colours_of(ranges)
    if coloured:
        return Sketch(placement, "colour", colour_shift=shift, kept=kept)
    tint: Tint = "intensity" if "intensity" in kept else "height"
    values = np.sort(sample["intensity" if tint == "intensity" else "Z"])
    low, high = (float(values[int(share * (len(values) - 1))]) for share in (0.01, 0.99))
    return Sketch(placement, tint, low, max(high, low + 1), kept=kept)


class Tiler:
    """Makes tiles of nodes and writes them to the file `name` in the folder, one after the other."""

    def __init__(self, sketch: Sketch, folder: Path, name: str) -> None:
        self._sketch = sketch
        self._name = name
        self._file = (folder / name).open("wb", buffering=0)
        self._form = PointForm(sketch.kept)
        self._table = _table(sketch.tint)

    def draw(self, key: Key, records: Records) -> Tile:
        """Make the tile of a node that has these points."""
        places = self._sketch.placement.lattice.positions(records)
        ends = np.stack([places.min(axis=1), places.max(axis=1)])
        middle = np.round(ends.mean(axis=0) / _MIDDLE_STEP) * _MIDDLE_STEP
        places -= middle[:, None]
        words = np.empty((len(records), self._form.words), "<u4")
        # The y axis of glTF points up.
        for axis, part in enumerate((places[0], places[2], np.negative(places[1], out=places[1]))):
            words.view("<f4")[:, axis] = part
        words[:, 3] = self._colours(records)
        for word, name in enumerate(self._sketch.kept, 4):
            words[:, word] = records[name]
        (west, south, bottom), (east, north, top) = (ends - middle).astype(np.float32)
        low, high = np.array([west, bottom, -north]), np.array([east, top, -south])
        head = self._form.head(len(records), middle, low, high)
        at = self._file.tell()
        write_whole(self._file, memoryview(head))
        write_whole(self._file, words.data)
        size = len(head) + words.nbytes
        return Tile(key, len(records), self._name, at, size, *map(tuple, ends.tolist()))

    def close(self) -> None:
        """Close the file; what is in it stays."""
        self._file.close()

    def _colours(self, records: Records) -> NDArray[np.uint32]:
        """Four bytes for each record: linear red, green and blue, and that it hides what is behind."""
        sketch = self._sketch
        if sketch.tint == "colour":
            shift = np.uint16(sketch.colour_shift)
            values = np.full((len(records), 4), 255, np.uint8)
            for at, name in enumerate(("red", "green", "blue")):
                values[:, at] = records[name] >> shift
            # Several times as fast as taking each from an array; what is opaque stays so.
            return np.frombuffer(values.tobytes().translate(self._table.tobytes()), "<u4")
        shades = records["intensity" if sketch.tint == "intensity" else "Z"].astype(np.float64)
        shades -= sketch.low
        shades *= 255.99 / (sketch.high - sketch.low)
        colours: NDArray[np.uint32] = self._table[np.clip(shades, 0, 255).astype(np.uint8)]
        return colours


def _table(tint: Tint) -> NDArray[Any]:
    """Linear colours: of one part of a colour as pictures have it, or of 256 steps of a value."""
    if tint == "colour":
        return _linear(np.arange(256.0))
    ramp = ((_GREYEST,) * 3, (_PALEST,) * 3) if tint == "intensity" else _RAMP
    steps, anchors = np.linspace(0, len(ramp) - 1, 256), np.arange(len(ramp))
    parts = [np.interp(steps, anchors, part) for part in zip(*ramp, strict=True)]
    return _linear(np.stack([*parts, np.full(256, 255.0)], axis=1)).view("<u4")[:, 0]


def _linear(picture: NDArray[np.float64]) -> NDArray[np.uint8]:
    """From sRGB (IEC 61966-2-1), 0 to 255, to linear light."""
    part = picture / 255
    light = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return np.round(light * 255).astype(np.uint8)

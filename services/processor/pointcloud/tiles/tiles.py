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

_COLOUR = 3
"""Which word of a point is its colour."""

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
        self._words = np.empty((0, self._form.words), "<u4")

    def draw(self, key: Key, records: Records) -> Tile:
        """Make the tile of a node that has these points."""
        middle, away = self._sketch.placement.lattice.positions(records)
        low, high = away.min(axis=1), away.max(axis=1)
        words = self._room(len(records))
        # The y axis of glTF points up.
        places = words.view("<f4")
        places[:, 0], places[:, 1] = away[0], away[2]
        np.negative(away[1], out=places[:, 2])
        self._paint(records, words)
        for word, name in enumerate(self._sketch.kept, 4):
            words[:, word] = records[name]
        (west, south, bottom), (east, north, top) = low, high
        least, most = np.array([west, bottom, -north]), np.array([east, top, -south])
        head = self._form.head(len(records), middle, least, most)
        at = self._file.tell()
        write_whole(self._file, memoryview(head))
        write_whole(self._file, words.data)
        size = len(head) + words.nbytes
        ends = (middle + low).tolist(), (middle + high).tolist()
        return Tile(key, len(records), self._name, at, size, *map(tuple, ends))

    def _room(self, points: int) -> NDArray[np.uint32]:
        """Words for so many points, where those of the last tile were."""
        if points > len(self._words):
            self._words = np.empty((points, self._form.words), "<u4")
        return self._words[:points]

    def close(self) -> None:
        """Close the file; what is in it stays."""
        self._file.close()

    def _paint(self, records: Records, words: NDArray[np.uint32]) -> None:
        """Give each record four bytes: linear red, green and blue, and that nothing shines through."""
        sketch = self._sketch
        if sketch.tint == "colour":
            words[:, _COLOUR] = 0xFF000000
            table, octets = self._table.tobytes(), words.view(np.uint8)
            for at, name in enumerate(("red", "green", "blue"), _COLOUR * words.itemsize):
                plane = _octets_of(records[name], sketch.colour_shift)
                # Several times as fast as taking each from an array.
                octets[:, at] = np.frombuffer(plane.tobytes().translate(table), np.uint8)
            return
        shades = records["intensity" if sketch.tint == "intensity" else "Z"].astype(np.float64)
        shades -= sketch.low
        shades *= 255.99 / (sketch.high - sketch.low)
        words[:, _COLOUR] = self._table[np.clip(shades, 0, 255).astype(np.uint8)]


def _octets_of(values: NDArray[np.uint16], shift: int) -> NDArray[np.uint8]:
    """Eight bits of every value, after `shift` lower ones."""
    if shift % 8:
        return (values >> np.uint16(shift)).astype(np.uint8)
    # They are a byte of their own.
    octets: NDArray[np.uint8] = values.view(np.dtype(("<u2", [("low", "u1"), ("high", "u1")])))[
        "high" if shift else "low"
    ]
    return octets


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

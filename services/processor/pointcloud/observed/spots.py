"""What single cells of the grid have seen: gathered cell by cell of the octree, laid together later.

Most octree cells lie over a few thousand cells of the grid. What is seen there is a table with one
row, a spot, for each of them. The spots of all octree cells are laid onto the grid in strips of
rows. Heights are integers, and equal heights are told apart by colour and intensity, so that the
grid depends on the points only, not on the order in which they come.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.ground.rule import (
    GroundFound,
    Mask,
    is_ground,
    is_reliable,
    lies_on_ground,
)
from services.processor.pointcloud.las.records import Records, some_of
from services.processor.pointcloud.observed.frame import Cells, Frame
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.octree.spill import write_whole

Layer = Literal["count", "top", "shade", "lowest", "ground_sum", "ground_count"]
Spots = NDArray[np.void]
Heights = NDArray[np.int32]
Shades = NDArray[np.uint64]
Layers = dict[Layer, NDArray[Any]]

TYPES: dict[Layer, str] = {
    "count": "<u4",
    "top": "<i4",
    "shade": "<u8",
    "lowest": "<i4",
    "ground_sum": "<i8",
    "ground_count": "<u4",
}
_NOTHING: dict[Layer, int] = {"top": -(1 << 31), "lowest": (1 << 31) - 1}
_STRIP_CELLS = 1 << 19
_WINDOW_CELLS = 1 << 20


@dataclass(frozen=True)
class View:
    """What is remembered of each cell of a grid.

    Attributes:
        name: how its files begin.
        frame: the grid.
        layers: what is remembered: `count` of the points; `top`, the height of the highest point,
            with its `shade` (0xRRGGBBIIII, eight bits a colour, sixteen the intensity); the
            `lowest` height; sum of heights and count of the ground points.
        coloured: whether the points have colours.
        colour_shift: bits to drop so that a colour fits into 8.
        ground: which points are ground; None if their class says so.
        reliable_only: whether points that are noise or withheld are passed over.
    """

    name: str
    frame: Frame
    layers: tuple[Layer, ...]
    coloured: bool = False
    colour_shift: int = 0
    ground: GroundFound | None = None
    reliable_only: bool = False

    @property
    def dtype(self) -> np.dtype[np.void]:
        """A spot: the number of its cell, row by row, and what is remembered of it."""
        return np.dtype([("cell", "<i4"), *((layer, TYPES[layer]) for layer in self.layers)])

    @property
    def strip_rows(self) -> int:
        """How many rows of the grid are laid together at once."""
        return max(_STRIP_CELLS // self.frame.width, 1)

    def file(self, folder: Path, layer: Layer) -> Path:
        """Where a layer lies: all its rows, without anything around them."""
        return folder / f"{self.name}-{layer}"


def colours_of(ranges: Ranges) -> tuple[bool, int]:
    """Whether the points have colours, and how many bits to drop so that a colour fits into 8."""
    ends = [ranges.by_name.get(name, (0, 0)) for name in ("red", "green", "blue")]
    coloured = any(high > low for low, high in ends)
    brightest = max(int(high) for _, high in ends)
    return coloured, max(brightest.bit_length() - 8, 0) if coloured else 0


def spots_of(records: Records, view: View) -> Spots:
    """What the records look like from above, by cell."""
    frame = view.frame
    row, column = frame.places(records)
    inside = (row >= 0) & (row < frame.height) & (column >= 0) & (column < frame.width)
    if view.reliable_only:
        inside &= is_reliable(records)
    if not inside.all():
        kept = np.flatnonzero(inside)
        records, row, column = some_of(records, kept), row[kept], column[kept]
    found = list(_windows(records, row, column, view))
    if len(found) == 1:
        return found[0]
    spots = np.concatenate([np.empty(0, view.dtype), *found])
    return spots[np.argsort(spots["cell"], kind="stable")]


def _windows(records: Records, row: Cells, column: Cells, view: View) -> Iterator[Spots]:
    """The spots of all records, in windows that are not much larger than they need to be."""
    if not len(records):
        return
    top, left = int(row.min()), int(column.min())
    height, width = int(row.max()) - top + 1, int(column.max()) - left + 1
    if height * width > _WINDOW_CELLS:
        first = row < top + height // 2 if height > width else column < left + width // 2
        for part in map(np.flatnonzero, (first, ~first)):
            yield from _windows(some_of(records, part), row[part], column[part], view)
        return
    at = (row - top) * width + (column - left)
    window = _blank(view, height * width)
    z = records["Z"].copy()
    _lay_records(window, at, z, records, view)
    if "ground_count" in view.layers:
        place = (slice(top, top + height), slice(left, left + width))
        _lay_ground(window, at, z, _ground_of(records, at, z, place, view))
    taken = np.flatnonzero(window["count"])
    spots = np.empty(len(taken), view.dtype)
    spots["cell"] = (taken // width + top) * view.frame.width + (taken % width + left)
    for layer, values in window.items():
        spots[layer] = values[taken]
    yield spots


def _blank(view: View, cells: int) -> Layers:
    return {layer: np.full(cells, _NOTHING.get(layer, 0), TYPES[layer]) for layer in view.layers}


def _lay_records(layers: Layers, at: Cells, z: Heights, records: Records, view: View) -> None:
    layers["count"][:] = np.bincount(at, minlength=len(layers["count"]))
    if "top" in layers:
        _keep_highest(layers, at, z, lambda some: shades_of(some_of(records, some), view))
    if "lowest" in layers:
        np.minimum.at(layers["lowest"], at, z)


def _ground_of(
    records: Records, at: Cells, z: Heights, place: tuple[slice, slice], view: View
) -> Mask:
    """Which records are ground; `at` says where in this place of the view's grid they lie."""
    found = view.ground
    if found is None or not view.reliable_only:
        return is_ground(records, found)
    if found.frame != view.frame:
        return lies_on_ground(records, found)
    least, greatest = found.between(*place)
    ground: Mask = (least[at] <= z) & (z <= greatest[at])
    return ground


def _lay_ground(layers: Layers, at: Cells, z: Heights, ground: Mask) -> None:
    # Adding nothing for the others is cheaper than picking the ground out.
    np.add.at(layers["ground_sum"], at, z * ground.astype(np.int64))
    np.add.at(layers["ground_count"], at, ground.astype(np.uint32))


def _keep_highest(
    layers: Layers, at: Cells, z: Heights, shades_at: Callable[[Cells], Shades]
) -> None:
    """Raise the top to the heights, and let it have the greatest of the highest points' shades."""
    top, shade = layers["top"], layers["shade"]
    before = top.copy()
    np.maximum.at(top, at, z)
    shade[top > before] = 0
    highest = np.flatnonzero(z == top[at])
    np.maximum.at(shade, at[highest], shades_at(highest))


def shades_of(records: Records, view: View) -> Shades:
    """0xRRGGBBIIII of every record; no colours if there are none."""
    shades = records["intensity"].astype(np.uint64)
    if view.coloured:
        shift = np.uint16(view.colour_shift)
        for name, place in (("red", 32), ("green", 24), ("blue", 16)):
            shades |= (records[name] >> shift).astype(np.uint64) << np.uint64(place)
    return shades


def lay_strip(batches: Iterable[Spots], view: View, strip: int, folder: Path) -> None:
    """Lay the spots of a strip together and write it into the files of the layers."""
    frame = view.frame
    start = strip * view.strip_rows * frame.width
    cells = min(view.strip_rows * frame.width, frame.width * frame.height - start)
    layers = _blank(view, cells)
    for spots in batches:
        at = spots["cell"].astype(np.int64) - start
        for layer in layers:
            if layer == "top":
                _keep_highest(layers, at, spots["top"], spots["shade"].__getitem__)
            elif layer == "lowest":
                np.minimum.at(layers[layer], at, spots[layer])
            elif layer != "shade":
                np.add.at(layers[layer], at, spots[layer])
    for layer, values in layers.items():
        with view.file(folder, layer).open("r+b", buffering=0) as file:
            file.seek(start * values.itemsize)
            write_whole(file, values.data)

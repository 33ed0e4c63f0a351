"""What to look at while the points pass: the grid, and what it remembers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from services.processor.pointcloud.crew import Crew
from services.processor.pointcloud.ground.rule import is_reliable
from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.observed.frame import frame_of
from services.processor.pointcloud.observed.observation import Scope
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.observed.spots import TYPES, Layer, View, colours_of
from services.processor.pointcloud.observed.surface import Surface
from services.processor.pointcloud.octree.spill import Piece
from services.processor.pointcloud.order import Need, Order
from services.processor.pointcloud.tiles.globe import place
from services.processor.pointcloud.tiles.tiles import sketch_of

_MOSTLY = 0.5
_LAYERS: dict[Need, tuple[Layer, ...]] = {
    "surface": ("top", "shade"),
    "lowest": ("lowest",),
    "ground": ("ground_sum", "ground_count"),
}


def scope_of(order: Order, ranges: Ranges, sample: Records) -> Scope:
    """What is to be observed of a cloud of these bounds for the products that are wanted.

    `sample` are some of its records, evenly taken.
    """
    view = None
    layers = [layer for need in sorted(order.needs) for layer in _LAYERS.get(need, ())]
    if layers and (frame := frame_of(order, ranges, sample)):
        view = View("grid", frame, ("count", *layers), *colours_of(ranges))
        # What is noise is not there, unless nearly nothing else is.
        view = replace(view, reliable_only=bool(is_reliable(sample).mean() >= _MOSTLY))
    sketch = None
    if "tiles" in order.needs and ranges.points:
        sketch = sketch_of(place(order.source, order.crs, ranges), ranges, sample)
    return Scope(ranges, "statistics" in order.needs, view, sketch=sketch)


def without_ground(scope: Scope) -> Scope:
    """The same, but nothing about the ground."""
    if scope.view is None:
        return scope
    layers = tuple(layer for layer in scope.view.layers if layer not in _LAYERS["ground"])
    return replace(scope, view=replace(scope.view, layers=layers))


def lay_surface(
    crew: Crew, view: View, strips: Mapping[int, Sequence[Piece]], folder: Path
) -> Surface:
    """Have what was seen laid together, strip by strip."""
    frame = view.frame
    for layer in view.layers:
        with view.file(folder, layer).open("wb") as file:
            # Strips without points stay holes: they read as zeros.
            file.truncate(frame.width * frame.height * np.dtype(TYPES[layer]).itemsize)
    orders = [(view, strip, tuple(pieces)) for strip, pieces in sorted(strips.items())]
    for _ in crew.each("lay", orders):
        pass
    return Surface(view, folder)

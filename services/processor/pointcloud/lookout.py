"""What to look at while the points pass: the grid, what it remembers, and where the ground lies."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from services.processor.pointcloud.crew import Crew
from services.processor.pointcloud.crs import CloudCrs
from services.processor.pointcloud.frame import frame_of
from services.processor.pointcloud.lengths import lengths_of
from services.processor.pointcloud.observation import Scope, together
from services.processor.pointcloud.order import Need, Order
from services.processor.pointcloud.plan import Plan
from services.processor.pointcloud.ranges import Ranges
from services.processor.pointcloud.records import Records
from services.processor.pointcloud.spill import Cell, Piece
from services.processor.pointcloud.spots import TYPES, GroundFound, Layer, View, colours_of
from services.processor.pointcloud.surface import Surface

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
    return Scope(ranges, "statistics" in order.needs, view)


def find_ground(
    crew: Crew, plan: Plan, scope: Scope, cells: Sequence[Cell], crs: CloudCrs
) -> Scope:
    """The scope, knowing which points are ground: a filter says so from the lowest heights.

    It takes another look at all points, before they are built. Heights are thought of in metres.
    """
    # The filter needs a library that takes long to load; most clouds have their ground classified.
    from services.processor.pointcloud.ground import ground_between  # noqa: PLC0415 - as said

    lengths = lengths_of(crs)
    if scope.view is None or not lengths.upright:
        return scope
    view = replace(scope.view, name="survey", layers=("count", "lowest"))
    survey = Scope(scope.ranges, False, view)
    crew.all("observe", plan, survey)
    for _ in crew.each("survey", [(cell,) for cell in cells]):
        pass
    seen = together(survey, crew.all("harvest"))
    surface = lay_surface(crew, view, seen.strips, plan.scratch)
    if surface is None:
        return scope
    lowest = surface.heights("lowest") * np.float32(lengths.up)
    found = ground_between(lowest, view.frame.cell * lengths.across)
    paths = plan.scratch / "ground-least", plan.scratch / "ground-greatest"
    for path, heights in zip(paths, found, strict=True):
        (heights / np.float32(lengths.up)).astype("<f4").tofile(path)
    return replace(scope, view=replace(scope.view, ground=GroundFound(*paths)))


def lay_surface(
    crew: Crew, view: View | None, strips: Mapping[int, Sequence[Piece]], folder: Path
) -> Surface | None:
    """Have what was seen laid together, strip by strip."""
    if view is None:
        return None
    frame = view.frame
    for layer in view.layers:
        with view.file(folder, layer).open("wb") as file:
            # Strips without points stay holes: they read as zeros.
            file.truncate(frame.width * frame.height * np.dtype(TYPES[layer]).itemsize)
    orders = [(view, strip, tuple(pieces)) for strip, pieces in sorted(strips.items())]
    for _ in crew.each("lay", orders):
        pass
    return Surface(view, folder)

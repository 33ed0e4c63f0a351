"""The road of a cloud: read and distribute, split what is too large, build, finish, assemble."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.crew import Alone, Crew, Processes
from services.processor.pointcloud.distribution import distribute
from services.processor.pointcloud.failures import scratch_full
from services.processor.pointcloud.forecast import forecast_ground, forecast_mill
from services.processor.pointcloud.ground.rule import GroundFound
from services.processor.pointcloud.ground.search import find_ground, wants_search
from services.processor.pointcloud.las.conversion import target_format
from services.processor.pointcloud.las.decoder import Reading, by_laszip, choose_reading
from services.processor.pointcloud.las.extra import read_extra_bytes
from services.processor.pointcloud.las.inheritance import carried_records
from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.memory import keep_freed_memory
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.miller import Built, most_held
from services.processor.pointcloud.observed.lookout import lay_surface, scope_of
from services.processor.pointcloud.observed.observation import together
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.observed.sample import sample_step
from services.processor.pointcloud.observed.statistics import Tally
from services.processor.pointcloud.observed.surface import Surface
from services.processor.pointcloud.octree import evenness
from services.processor.pointcloud.octree.chunks import Chunk, laz_record
from services.processor.pointcloud.octree.copc import Product, write_copc
from services.processor.pointcloud.octree.cube import (
    bounds_of,
    stated_cube,
)
from services.processor.pointcloud.octree.morton import Key
from services.processor.pointcloud.octree.spill import Cell, Piece
from services.processor.pointcloud.order import Order
from services.processor.pointcloud.plan import Plan, cell_levels, processes_within, ranges_of
from services.processor.pointcloud.tiles.tiles import TILE_BYTES, Sketch, Tile
from shared.errors import TaskFailed

_ALONE_POINTS = 1_000_000
_PARTS_PER_PROCESS = 4
_UNREADABLE = frozenset({"laz_damaged", "decoder_crashed"})


@dataclass(frozen=True)
class Milled:
    """What has come of it.

    Attributes:
        reading: how the source was read.
        source_classes: points by class as they were decoded.
        tally, surface: what was counted and seen as the product was built.
        ground: which points a filter has found to be ground, if it had to look for them.
        reclassified: how many points got another class for that.
        sample: some of the records, evenly taken, if anything but the tally was needed.
        sketch, tiles: how and where the nodes were drawn, if that was needed.
        product: what the COPC file says of itself.
        nodes: how many octree nodes have points; `depth` is the level of the finest.
        twins: how many points lie exactly where another lies.
        processes: how many processes have worked on it.
        held: by stage the sum of the most memory that each process at work has held since it began.
    """

    reading: Reading
    source_classes: NDArray[np.int64]
    ranges: Ranges
    tally: Tally
    sample: Records
    surface: Surface | None
    ground: GroundFound | None
    reclassified: int
    sketch: Sketch | None
    tiles: list[Tile]
    product: Product
    nodes: int
    depth: int
    twins: int
    processes: int
    held: dict[str, int]


def mill(order: Order, meter: Meter) -> Milled:
    """Make the COPC file of a source. Raises TaskFailed with the codes of failures.py."""
    keep_freed_memory()
    _check_space(order)
    reading = choose_reading(order.source, needs_laszip=order.needs_laszip)
    try:
        return _mill(order, reading, meter)
    except TaskFailed as failure:
        if failure.code not in _UNREADABLE or reading.decoder != "lazrs":
            raise
        try:
            return _mill(order, by_laszip(), meter)
        except TaskFailed as second:
            raise failure from second


def _mill(order: Order, reading: Reading, meter: Meter) -> Milled:
    plan = _first_plan(order, reading)
    size = _crew_size(order, reading)
    meter.expect(forecast_mill(order.source, order.needs, reading.decoder, size))
    parts = ranges_of(
        order.source.point_count,
        reading.starts,
        parts=max(size, 1) * _PARTS_PER_PROCESS,
    )
    held = {"inspect": most_held()}
    with _crew(plan, meter, size) as crew:
        plan, spilled = distribute(crew, plan, parts, meter)
        held["read"] = _held(crew, size)
        ranges = spilled.ranges
        plan = replace(plan, grid=evenness.fitting_grid(spilled.counts))
        scope = scope_of(order, ranges, spilled.sample)
        if wants_search(order, spilled.classes):
            meter.expect(forecast_ground(order.source, size))
            meter.stage("ground", 1, "Looking for the ground")
            whole = [Cell(key, tuple(found)) for key, found in spilled.pieces.items()]
            scope = find_ground(crew, plan, scope, whole, order, spilled.sample)
        crew.all("observe", plan, scope)
        cells, heaps = _cells_to_build(crew, plan, spilled.pieces)
        built = _build(crew, cells, heaps, ranges.points, meter)
        held["build"] = _held(crew, size)
        nodes = _finish_coarse(crew, built, meter)
        held["finish"] = _held(crew, size)
        seen = together(scope, crew.all("harvest"))
        view = scope.view
        surface = lay_surface(crew, view, seen.strips, order.scratch) if view else None
    product = _product(order, plan, ranges, seen.tally)
    if sum(chunk.points for _, chunk in nodes) != order.source.point_count:
        raise RuntimeError("the product does not hold as many points as the source")
    meter.stage("assemble", 1, "Writing the file")
    write_copc(order.copc, product, nodes, order.scratch)
    held["assemble"] = most_held()
    return Milled(
        reading=reading,
        source_classes=spilled.classes,
        ranges=ranges,
        tally=seen.tally,
        sample=spilled.sample,
        surface=surface,
        ground=scope.ground,
        reclassified=seen.reclassified,
        sketch=scope.sketch,
        tiles=seen.tiles,
        product=product,
        nodes=len(nodes),
        depth=max((key[0] for key, _ in nodes), default=0),
        twins=sum(part.twins for part in built),
        processes=size or 1,
        held=held,
    )


def _held(crew: Crew, size: int) -> int:
    """What all processes have held at most; that of the kernel, which needs no file to be read."""
    others = sum(crew.all("most_held")) if size else 0
    return most_held() + others


def _check_space(order: Order) -> None:
    """The spilled points, the compressed ones and the tiles have to find room."""
    source = order.source
    drawn = 2 * TILE_BYTES if "tiles" in order.needs else 0
    packed = source.point_count * (source.record_length + 16 + drawn)
    free = shutil.disk_usage(order.scratch).free
    if packed * 3 // 2 > free:
        raise scratch_full(packed * 3 // 2, free)


def _first_plan(order: Order, reading: Reading) -> Plan:
    source = order.source
    return Plan(
        source=source,
        decoder=reading.decoder,
        cube=stated_cube(source),
        scratch=order.scratch,
        levels=cell_levels(source.point_count),
        extra=read_extra_bytes(source).dimensions,
        laz_record=laz_record(target_format(source.point_format), source.extra_bytes),
        batch_bytes=processes_within(order.memory_bytes, order.workers)[1],
        sample_step=sample_step(source.point_count)
        if order.classify_ground or order.needs - {"statistics"}
        else 0,
    )


def _crew_size(order: Order, reading: Reading) -> int:
    """How many processes to start; 0 if this one does the work itself."""
    small = order.source.point_count <= _ALONE_POINTS
    if small and reading.decoder != "laszip":
        return 0
    # laszip can crash on a damaged file; then it had better be another process that does.
    return 1 if small else processes_within(order.memory_bytes, order.workers)[0]


@contextmanager
def _crew(plan: Plan, meter: Meter, size: int) -> Iterator[Crew]:
    crew: Crew = Processes(plan, meter.add, size) if size else Alone(plan, meter.add)
    try:
        yield crew
    finally:
        crew.close()


def _cells_to_build(
    crew: Crew, plan: Plan, pieces: dict[Key, list[Piece]]
) -> tuple[list[Cell], list[Cell]]:
    """Cells small enough to build, and heaps: any number of points at one place."""
    found = [Cell(key, tuple(parts)) for key, parts in pieces.items()]
    fit, heaps = [], []
    number = 0
    while found:
        fit += [cell for cell in found if cell.points <= plan.cell_points]
        large = [cell for cell in found if cell.points > plan.cell_points]
        orders = [(cell, f"split-{number + at:06d}") for at, cell in enumerate(large)]
        number += len(orders)
        found = []
        for cell, parts in crew.each("split", orders):
            found += [Cell(key, tuple(part)) for key, part in parts.items()]
            if not parts:
                heaps.append(cell)
    return sorted(fit, key=lambda cell: (-cell.points, cell.key)), heaps


def _build(
    crew: Crew, cells: list[Cell], heaps: list[Cell], points: int, meter: Meter
) -> list[Built]:
    meter.stage("build", points, "Building the octree")
    built = list(crew.each("build", [(cell,) for cell in cells]))
    built += crew.each("pour", [(cell,) for cell in heaps])
    return sorted(built, key=lambda part: part.cell)


def _finish_coarse(crew: Crew, built: Iterable[Built], meter: Meter) -> list[tuple[Key, Chunk]]:
    """Compress the nodes above the cells; all nodes in the order in which they will lie."""
    shares: dict[Key, list[Piece]] = {}
    nodes = []
    for part in built:
        nodes += part.nodes
        for key, piece in part.coarse:
            shares.setdefault(key, []).append(piece)
    orders = [(Cell(key, tuple(pieces)),) for key, pieces in sorted(shares.items())]
    meter.stage("finish", len(orders), "Finishing the coarse levels")
    nodes += crew.each("finish_coarse", orders)
    return sorted(nodes)


def _product(order: Order, plan: Plan, ranges: Ranges, tally: Tally) -> Product:
    source = order.source
    mins, maxs = bounds_of(source, ranges)
    returns = tally.counted.get("returns", np.zeros(256, np.int64)).reshape(16, 16).sum(axis=0)
    return Product(
        source=source,
        point_format=target_format(source.point_format),
        record_length=plan.dtype.itemsize,
        points=ranges.points,
        by_return=returns[1:].tolist(),
        mins=mins,
        maxs=maxs,
        gps_range=ranges.by_name.get("gps_time", (0.0, 0.0)),
        cube=plan.cube,
        laz_record=plan.laz_record,
        wkt=order.crs.wkt,
        carried=carried_records(source, order.crs),
    )

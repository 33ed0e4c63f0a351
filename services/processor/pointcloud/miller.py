"""One process's share of the work: distribute a range, split or build a cell, finish a coarse node.

A miller works alone on files in the scratch folder; what it hands back says where its results lie.
"""

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.conversion import convert
from services.processor.pointcloud.las.decoder import read_batches
from services.processor.pointcloud.las.records import Records, as_bytes
from services.processor.pointcloud.observed.observation import Observation, Scope, Seen
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.observed.sample import Sample
from services.processor.pointcloud.observed.spots import View, lay_strip
from services.processor.pointcloud.octree import evenness
from services.processor.pointcloud.octree.chunks import Chunk, compress, compress_stream
from services.processor.pointcloud.octree.detail import share_out
from services.processor.pointcloud.octree.morton import (
    CODE_LEVELS,
    Key,
    ancestor,
    child_keys,
    codes_within,
    enclosing_node,
    places_within,
)
from services.processor.pointcloud.octree.spill import (
    Cell,
    Pack,
    Piece,
    read_cell,
    read_cell_batches,
    write_whole,
)
from services.processor.pointcloud.plan import LEAST_POINTS, Plan, Range

Report = Callable[[int], None]
"""Called with the number of points that have just been dealt with."""

_ROOT = (0, 0, 0, 0)
_SPLIT_LEVELS = 3
_DEEPEST_CELL = 27
_FACTORS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


@dataclass(frozen=True)
class Distributed:
    """Where the points of a range went, and how many of each class the source has there.

    `counts` are points by Morton code of evenness.LEVELS levels. `sample` is where the range starts
    and every so many of its points.
    """

    pieces: dict[Key, list[Piece]]
    ranges: Ranges
    classes: NDArray[np.int64]
    counts: NDArray[np.int64]
    sample: tuple[int, Records]


@dataclass(frozen=True)
class Built:
    """What became of a cell: finished nodes, and its share of the nodes above it.

    `twins` counts points that lie exactly where another point lies.
    """

    cell: Key
    points: int
    nodes: list[tuple[Key, Chunk]]
    coarse: list[tuple[Key, Piece]]
    twins: int


def most_held() -> int:
    """The most resident memory that this process has held since it began, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Miller:
    """Does one piece of work at a time. `name` is unique among the millers of a job."""

    def __init__(self, name: str, plan: Plan, report: Report) -> None:
        self._name = name
        self._plan = plan
        self._report = report
        self._observation: Observation | None = None
        self._segment = self._open(f"chunks-{name}")
        self._coarse = self._open(f"coarse-{name}")

    def distribute(self, part: Range) -> Distributed:
        """Read a range of the source, convert it, and write it to a pack, by cell."""
        plan, source = self._plan, self._plan.source
        ranges, classes = Ranges(plan.extra), np.zeros(256, np.int64)
        counts = np.zeros(8**evenness.LEVELS, np.int64)
        sample = Sample(plan.dtype, plan.sample_step, part.start)
        with Pack(plan.scratch, part.pack) as pack:
            for batch in read_batches(
                source, plan.decoder, part.start, part.count, plan.batch_points
            ):
                number = batch["classification"] & (0x1F if source.point_format < 6 else 0xFF)
                classes += np.bincount(number, minlength=256)
                records = convert(batch, source.point_format)
                ranges.add(records)
                sample.add(records)
                codes = codes_within(records, plan.cube, _ROOT, evenness.LEVELS)
                counts += np.bincount(codes.view(np.int64), minlength=len(counts))
                codes >>= np.uint64(3 * (evenness.LEVELS - plan.levels))
                pack.write(records, codes, plan.levels)
                self._report(len(records))
                # Or they would still be held while those of the next batch are made.
                del records, codes
        pieces = _keyed(_ROOT, plan.levels, pack.pieces)
        return Distributed(pieces, ranges, classes, counts, (part.start, sample.taken()))

    def split(self, cell: Cell, pack_name: str) -> tuple[Cell, dict[Key, list[Piece]]]:
        """Divide a cell that is too large to be built; no parts if its points lie at one place."""
        plan = self._plan
        ranges = Ranges(())
        for records in self._batches(cell):
            ranges.add(records)
        low, high = zip(*(ranges.by_name[name] for name in ("X", "Y", "Z")), strict=True)
        if low == high or cell.key[0] >= _DEEPEST_CELL:
            return cell, {}
        node = enclosing_node(low, high, plan.cube, cell.key, _DEEPEST_CELL)
        with Pack(plan.scratch, pack_name) as pack:
            for records in self._batches(cell):
                codes = codes_within(records, plan.cube, node, _SPLIT_LEVELS)
                pack.write(records, codes, _SPLIT_LEVELS)
        return cell, _keyed(node, _SPLIT_LEVELS, pack.pieces)

    def observe(self, plan: Plan, scope: Scope | None) -> None:
        """Work by this plan, and observe whatever is built from now on."""
        self._plan = plan
        self._stop_observing()
        if scope:
            name = f"{scope.view.name if scope.view else 'unseen'}-spots-{self._name}"
            self._observation = Observation(scope, plan.scratch, name)

    def build(self, cell: Cell) -> Built:
        """Share the points of a cell out among the octree's nodes and compress those."""
        plan = self._plan
        records = read_cell(plan.scratch, cell, plan.dtype)
        self._watch(records)
        places = places_within(records, plan.cube, cell.key, CODE_LEVELS)
        nodes = share_out(places, plan.grid, cell.key, plan.leaf_points, LEAST_POINTS)
        grouped = np.take(as_bytes(records), nodes.order, axis=0)
        points, twins = len(records), _count_twins(records)
        del records, places
        ends = np.cumsum(nodes.counts).tolist()
        groups = [
            (key, grouped[end - count : end])
            for key, count, end in zip(nodes.keys, nodes.counts, ends, strict=True)
        ]
        own = [(key, rows) for key, rows in groups if key[0] >= cell.key[0]]
        above = [(key, rows) for key, rows in groups if key[0] < cell.key[0]]
        built = Built(
            cell.key,
            points,
            list(
                zip((key for key, _ in own), self._chunks([rows for _, rows in own]), strict=True)
            ),
            [(key, self._set_aside(rows)) for key, rows in above],
            twins,
        )
        for key, rows in own:
            self._draw(key, rows)
        self._report(points)
        return built

    def pour(self, cell: Cell) -> Built:
        """One node for a cell whose many points all lie at one place, in bounded memory."""
        plan = self._plan
        first = read_cell(plan.scratch, _first_points(cell, cell.key[0] + 1), plan.dtype)
        # A picture needs but one of the points that the node has at one place.
        self._draw(cell.key, as_bytes(first[-1:]))
        coarse = [
            (ancestor(cell.key, level), self._set_aside(as_bytes(first[level : level + 1])))
            for level in range(cell.key[0])
        ]
        segment = f"poured-{'-'.join(map(str, cell.key))}"

        def rest() -> Iterator[Records]:
            skip = cell.key[0]
            for records in self._batches(cell):
                self._watch(records)
                yield records[skip:]
                skip = 0
                self._report(len(records))

        offset, size = compress_stream(plan.scratch / segment, rest(), plan.laz_record)
        chunk = Chunk(cell.points - cell.key[0], segment, offset, size)
        return Built(cell.key, cell.points, [(cell.key, chunk)], coarse, cell.points - 1)

    def finish_coarse(self, node: Cell) -> tuple[Key, Chunk]:
        """Compress a node that several cells have contributed to."""
        records = read_cell(self._plan.scratch, node, self._plan.dtype)
        self._draw(node.key, as_bytes(records))
        return node.key, self._chunks([as_bytes(records)])[0]

    def survey(self, cell: Cell) -> None:
        """Only look at the points of a cell of any size, before it is built."""
        for records in self._batches(cell):
            if self._observation:
                self._observation.look(records)

    def lay(self, view: View, strip: int, pieces: tuple[Piece, ...]) -> None:
        """Lay what was seen in a strip of the grid together."""
        batches = read_cell_batches(
            self._plan.scratch, Cell(_ROOT, pieces), view.dtype, self._plan.batch_points
        )
        lay_strip(batches, view, strip, self._plan.scratch)

    def harvest(self) -> Seen | None:
        """What has been observed."""
        return self._observation.seen if self._observation else None

    def most_held(self) -> int:
        """The most memory that this process has held so far, in bytes."""
        return most_held()

    def close(self) -> None:
        """Close the files. What is in them stays."""
        self._stop_observing()
        self._segment.close()
        self._coarse.close()

    def _open(self, name: str) -> FileIO:
        return (self._plan.scratch / name).open("wb", buffering=0)

    def _stop_observing(self) -> None:
        if self._observation:
            self._observation.close()
        self._observation = None

    def _watch(self, records: Records) -> None:
        if self._observation:
            self._observation.add(records)

    def _draw(self, key: Key, rows: NDArray[np.uint8]) -> None:
        if self._observation:
            self._observation.draw(key, rows.reshape(-1).view(self._plan.dtype))

    def _batches(self, cell: Cell) -> Iterator[Records]:
        plan = self._plan
        return read_cell_batches(plan.scratch, cell, plan.dtype, plan.batch_points)

    def _chunks(self, groups: list[NDArray[np.uint8]]) -> list[Chunk]:
        if not groups:
            return []
        packed, sizes = compress([rows.reshape(-1) for rows in groups], self._plan.laz_record)
        at = self._segment.tell()
        write_whole(self._segment, packed)
        chunks = []
        for rows, size in zip(groups, sizes, strict=True):
            chunks.append(Chunk(len(rows), f"chunks-{self._name}", at, size))
            at += size
        return chunks

    def _set_aside(self, rows: NDArray[np.uint8]) -> Piece:
        at = self._coarse.tell()
        write_whole(self._coarse, np.ascontiguousarray(rows).data)
        return Piece(f"coarse-{self._name}", at, len(rows))


def _keyed(node: Key, levels: int, pieces: dict[int, list[Piece]]) -> dict[Key, list[Piece]]:
    keys = child_keys(node, levels, np.array(list(pieces), np.uint64))
    return dict(zip(keys, pieces.values(), strict=True))


def _count_twins(records: Records) -> int:
    """How many points lie exactly where another one lies, seen by 64-bit fingerprints of places."""
    prints = np.zeros(len(records), np.uint64)
    for name, factor in zip(("X", "Y", "Z"), _FACTORS, strict=True):
        prints ^= records[name].astype(np.uint64) * np.uint64(factor)
        prints ^= prints >> np.uint64(29)
    prints.sort()
    return int(np.count_nonzero(prints[1:] == prints[:-1]))


def _first_points(cell: Cell, points: int) -> Cell:
    """The first `points` points of a cell that has more."""
    pieces = []
    for piece in cell.pieces:
        if points <= 0:
            break
        pieces.append(piece._replace(points=min(piece.points, points)))
        points -= piece.points
    return Cell(cell.key, tuple(pieces))

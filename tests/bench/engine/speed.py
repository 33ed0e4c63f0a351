"""How fast the engine is: beside the codec's floor, beside copclib, and with each product."""

import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.products.catalogue import DEFAULT, NAMES
from tests.bench.engine.evenness import evenness
from tests.bench.engine.floor import write_raw
from tests.bench.engine.measuring import KEPT, Taken, run_python

GIBIBYTE = 1 << 30
WORKERS = min(os.cpu_count() or 1, 2)
_BATCH = 1_000_000


@dataclass(frozen=True)
class Speed:
    """The engine making a COPC file and nothing that is asked for besides; medians of some runs.

    Attributes:
        source, points, point_format: the cloud.
        memory_given: the budget in bytes.
        processes: how many processes the engine chose to keep busy.
        wall, cpu: seconds of the engine; `others` is the share of the cores that others had.
        floor_wall, floor_cpu: of as many processes that decode and encode only; None if not run.
        ratios: the engine's CPU over the floor's, of each pair of runs.
        held, highest: memory of all processes, as `Taken` has it, of a run apart.
        stages: wall seconds of each stage, of the last run.
        record_bytes: size of all points in memory.
        source_bytes, copc_bytes: sizes of the files.
    """

    source: str
    points: int
    point_format: int
    memory_given: int
    processes: int
    wall: float
    cpu: float
    others: float
    floor_wall: float | None
    floor_cpu: float | None
    ratios: list[float]
    held: int
    highest: int
    stages: dict[str, float]
    record_bytes: int
    source_bytes: int
    copc_bytes: int

    @property
    def ratio(self) -> float | None:
        """The engine's median CPU over the floor's."""
        return self.cpu / self.floor_cpu if self.floor_cpu else None


@dataclass(frozen=True)
class Evenness:
    """Coefficients of variation in 10 m cells: levels added up one by one, and all points."""

    levels: list[float]
    whole: float


@dataclass(frozen=True)
class Rival:
    """What copclib takes for decoding the cloud and writing the nodes of a ready octree."""

    points: int
    wall: float
    cpu: float


@dataclass(frozen=True)
class Cost:
    """CPU seconds of the COPC file with some products, and how much more than alone that is.

    `left_out` are products that there are none of for this cloud: they have not cost all they can.
    """

    products: list[str]
    name: str
    cpu: float
    more: float
    left_out: list[str]


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for everything that a measurement leaves; on a disk, as /tmp may not be."""
    with tempfile.TemporaryDirectory(prefix="work-", dir=KEPT) as name:
        yield Path(name)


def mill(
    source: Path,
    folder: Path,
    products: Sequence[str] = (),
    *,
    memory: int = GIBIBYTE,
    watch_memory: bool = False,
) -> Taken:
    """One run of the task in `folder`, whose former content goes."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    params = json.dumps({"products": list(products)})
    arguments = [str(source), str(folder), str(WORKERS), str(memory), params]
    return run_python(["-m", "tests.bench.engine.ingest", *arguments], watch_memory=watch_memory)


def measure_speed(
    source: Path, place: Path, repeats: int, *, memory: int = GIBIBYTE, floor: bool = True
) -> Speed:
    """Leaves the product in `place`/copc.laz and, if the floor is measured, its records in raw."""
    folder, copc, raw = place / "job", place / "copc.laz", place / "raw"
    watched = mill(source, folder, memory=memory, watch_memory=True)
    (folder / "out" / "copc.laz").rename(copc)
    if floor:
        write_raw(copc, raw)
    engines, floors = [watched] if not repeats else [], []
    for _ in range(repeats):
        engines.append(mill(source, folder, memory=memory))
        if floor:
            processes = _certificate(folder)["effort"]["processes"]
            floors.append(_decode_and_encode(source, copc, raw, processes))
    effort, header = _certificate(folder)["effort"], read_source(source)
    shutil.rmtree(folder)
    return Speed(
        source=source.name,
        points=header.point_count,
        point_format=header.point_format,
        memory_given=memory,
        processes=effort["processes"],
        wall=statistics.median(taken.wall for taken in engines),
        cpu=statistics.median(taken.cpu for taken in engines),
        others=statistics.median(taken.others for taken in engines),
        floor_wall=statistics.median(taken.wall for taken in floors) if floors else None,
        floor_cpu=statistics.median(taken.cpu for taken in floors) if floors else None,
        ratios=[one.cpu / other.cpu for one, other in zip(engines, floors, strict=False)],
        held=watched.held,
        highest=watched.highest,
        stages={stage["stage"]: stage["seconds"] for stage in effort["stages"]},
        record_bytes=header.point_count * header.record_length,
        source_bytes=source.stat().st_size,
        copc_bytes=copc.stat().st_size,
    )


def _certificate(folder: Path) -> Any:
    """What the engine says about its last work in the folder."""
    return json.loads((folder / "out" / "certificate.json").read_text())


def _decode_and_encode(source: Path, copc: Path, raw: Path, processes: int) -> Taken:
    arguments = [str(source), str(copc), str(raw), str(_BATCH), str(processes)]
    taken = run_python(["-m", "tests.bench.engine.floor", *arguments])
    _expect_all(taken.output, read_source(source).point_count)
    return taken


def _expect_all(output: str, points: int) -> None:
    """Raise if what was decoded, or what was encoded, is not every point once."""
    shares = [map(int, line.split()) for line in output.splitlines()]
    if [sum(column) for column in zip(*shares, strict=True)] != [points, points]:
        raise RuntimeError(f"the comparison has not done the whole work: {output}")


def measure_evenness(place: Path) -> Evenness:
    """Of the product that `measure_speed` has left."""
    return Evenness(*evenness(place / "copc.laz"))


def measure_copclib(source: Path, place: Path) -> Rival:
    """With the octree of the product that `measure_speed` has left, and its records."""
    files = [source, place / "copc.laz", place / "raw", place / "rival.copc.laz"]
    taken = run_python(["-m", "tests.bench.engine.copclib_writer", *map(str, files)])
    points = read_source(source).point_count
    _expect_all(taken.output, points)
    return Rival(points, taken.wall, taken.cpu)


def measure_products(source: Path, place: Path, repeats: int) -> list[Cost]:
    """Of each product beside the COPC file, of the usual ones together, and of all together."""
    sets = {name: [name] for name in NAMES}
    sets |= {"the default": list(DEFAULT), "all": list(NAMES)}
    alone: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in sets}
    left_out: dict[str, list[str]] = {}
    for _ in range(repeats):
        alone.append(mill(source, place / "job").cpu)
        for name, products in sets.items():
            taken[name].append(mill(source, place / "job", products).cpu)
            left_out[name] = list(_certificate(place / "job")["products_left_out"])
    base = statistics.median(alone)
    costs = [Cost([], "COPC alone", base, 0.0, [])]
    for name, products in sets.items():
        cpu = statistics.median(taken[name])
        costs.append(Cost(products, name, cpu, cpu / base - 1, left_out[name]))
    return costs

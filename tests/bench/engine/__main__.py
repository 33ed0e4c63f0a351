"""Measures the engine: speed against the codec's floor, memory, what every product costs, evenness.

    python -m tests.bench.engine [--quick | --large]

Prints a table, writes .local/bench/engine.json, and ends with 1 if anything that must hold does not.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.processor.pointcloud.source import read_source
from services.processor.tasks.pointcloud_ingest import Params
from tests.bench.engine import airborne, floor
from tests.bench.engine.evenness import evenness
from tests.bench.engine.measuring import ROOT, Taken, run_python

KEPT = ROOT / ".local" / "bench"
GIBIBYTE = 1 << 30
BATCH = 1_000_000
WORKERS = min(os.cpu_count() or 1, 2)


def say(line: str = "") -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def cloud(points: int, point_format: int) -> Path:
    """The input, made if it is not there yet; another version of its maker makes another file."""
    edition = hashlib.sha256(Path(airborne.__file__).read_bytes()).hexdigest()[:8]
    path = KEPT / f"airborne-{points // 1_000_000}M-{point_format}-{edition}.laz"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        say(f"making {path.name}")
        airborne.write_airborne(path, points, point_format)
    return path


@contextmanager
def workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pointmill-bench-") as name:
        yield Path(name)


def mill(
    source: Path,
    folder: Path,
    params: dict[str, Any],
    *,
    memory: int = GIBIBYTE,
    watch: bool = False,
) -> Taken:
    """One run of the task in `folder`, whose former content goes."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out").mkdir(parents=True)
    (folder / "scratch").mkdir()
    arguments = [str(source), str(folder), str(WORKERS), str(memory), json.dumps(params)]
    return run_python(["-m", "tests.bench.engine.ingest", *arguments], watch_memory=watch)


def decode_and_encode(source: Path, copc: Path, raw: Path, processes: int) -> Taken:
    commands = [
        [
            "-m",
            "tests.bench.engine.floor",
            str(source),
            str(copc),
            str(raw),
            str(BATCH),
            str(number),
            str(processes),
        ]
        for number in range(processes)
    ]
    taken = run_python(*commands)
    points = read_source(source).point_count
    shares = [line.split() for line in taken.output.splitlines()]
    assert [sum(int(share[at]) for share in shares) for at in (0, 1)] == [points, points]
    return taken


def copc_only() -> dict[str, Any]:
    return {"products": []} if "products" in Params.model_fields else {}


def compare(source: Path, repeats: int) -> dict[str, Any]:
    points = read_source(source).point_count
    with workplace() as place:
        folder, raw = place / "job", place / "raw"
        first = mill(source, folder, copc_only(), watch=True)
        effort = json.loads((folder / "out" / "certificate.json").read_text())["effort"]
        copc = place / "copc.laz"
        (folder / "out" / "copc.laz").rename(copc)
        floor.write_raw(copc, raw)
        engines, floors = [], []
        for _ in range(repeats):
            engines.append(mill(source, folder, copc_only()))
            floors.append(decode_and_encode(source, copc, raw, effort["processes"]))
        levels, whole = evenness(copc)
    engine_cpu, floor_cpu = (statistics.median(t.cpu for t in runs) for runs in (engines, floors))
    wall = statistics.median(t.wall for t in engines)
    return {
        "points": points,
        "wall": wall,
        "cpu": engine_cpu,
        "floor_cpu": floor_cpu,
        "floor_wall": statistics.median(t.wall for t in floors),
        "ratio": engine_cpu / floor_cpu,
        "ratios": [e.cpu / f.cpu for e, f in zip(engines, floors, strict=True)],
        "points_per_second": points / wall,
        "points_per_core_second": points / engine_cpu,
        "memory": first.memory,
        "memory_said": effort["memory_bytes_at_most"],
        "stages": effort["seconds"],
        "evenness": levels,
        "evenness_of_all": whole,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    result = compare(cloud(10_000_000, 7), 1 if args.quick else args.repeats)
    say(json.dumps(result, indent=1))

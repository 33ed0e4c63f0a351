"""Measures the engine: speed beside the codec's floor, memory, what products cost, evenness.

    python -m tests.bench.engine [--quick | --large] [--repeats N]

Makes its clouds first, in .local/bench, and keeps them. Prints tables and verdicts, writes them to
.local/bench/engine.json (engine-large.json), and ends with 1 if something that must hold does not.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from tests.bench.engine import airborne
from tests.bench.engine.measuring import KEPT
from tests.bench.engine.report import (
    Measured,
    Verdict,
    as_json,
    describe_machine,
    judge,
    judge_flatness,
    tables,
)
from tests.bench.engine.speed import (
    GIBIBYTE,
    Speed,
    measure_copclib,
    measure_evenness,
    measure_products,
    measure_speed,
    workplace,
)

_MILLION = 1_000_000


def say(line: str = "") -> None:
    """Print at once, for whoever is watching."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def cloud(millions: int, point_format: int) -> Path:
    """The input, made if it is not there yet; another version of its maker makes another file."""
    edition = hashlib.sha256(Path(airborne.__file__).read_bytes()).hexdigest()[:8]
    path = KEPT / f"airborne-{millions}M-{point_format}-{edition}.laz"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        say(f"making {path.name}")
        airborne.write_airborne(path, millions * _MILLION, point_format)
    return path


def measure(repeats: int, *, quick: bool) -> tuple[Measured, list[Verdict]]:
    """The usual bench: ten million points for everything, forty for the speed again."""
    source = cloud(10, 7)
    with workplace() as place:
        say("10 M points, format 7: speed and floor")
        speeds = [measure_speed(source, place, repeats)]
        say("evenness and copclib")
        even, rival = measure_evenness(place), measure_copclib(source, place)
        say("products")
        costs = measure_products(source, place, repeats)
    for millions, point_format in () if quick else ((10, 6), (40, 7), (40, 6)):
        say(f"{millions} M points, format {point_format}: speed and floor")
        speeds.append(_speed_of(millions, point_format, repeats if millions == 10 else 1))
    measured = Measured(speeds, even, rival, costs)
    return measured, judge(measured)


def measure_large() -> tuple[Measured, list[Verdict]]:
    """A hundred million points: as much memory as for ten, and less than the cloud takes."""
    small = _speed_of(10, 7, 0)
    say("100 M points, format 7")
    large = _speed_of(100, 7, 0)
    say("100 M points, format 7, in half the memory")
    tight = _speed_of(100, 7, 0, memory=GIBIBYTE // 2)
    measured = Measured([small, large, tight])
    return measured, [*judge(measured), judge_flatness(small, large)]


def _speed_of(millions: int, point_format: int, repeats: int, *, memory: int = GIBIBYTE) -> Speed:
    source = cloud(millions, point_format)
    with workplace() as place:
        return measure_speed(source, place, repeats, memory=memory, floor=repeats > 0)


def main() -> int:
    """Measure, print, write; 1 if something that must hold does not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--quick", action="store_true", help="10 M points of format 7, each run once"
    )
    kinds.add_argument("--large", action="store_true", help="100 M points, memory only")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each; the median counts")
    chosen = parser.parse_args()
    machine = describe_machine()
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    say(f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB; {versions}")
    if chosen.large:
        measured, verdicts = measure_large()
    else:
        measured, verdicts = measure(1 if chosen.quick else chosen.repeats, quick=chosen.quick)
    say()
    for line in tables(measured):
        say(line)
    say()
    marks = {True: "holds  ", False: "FAILS  ", None: "unknown"}
    for verdict in verdicts:
        say(f"{marks[verdict.holds]} {verdict.what}: {verdict.found}")
    path = KEPT / ("engine-large.json" if chosen.large else "engine.json")
    path.write_text(json.dumps(as_json(measured, verdicts), indent=1) + "\n")
    return int(any(verdict.holds is False for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())

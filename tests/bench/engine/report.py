"""What was measured, as a table for people; what must hold, and whether it does."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.engine.evenness import OTHERS
from tests.bench.engine.speed import GIBIBYTE, WORKERS, Cost, Evenness, Rival, Speed

MOST_RATIO, AIMED_RATIO = 1.35, 1.25
LEAST_SPEED, AIMED_SPEED = 1.6e6, 1.8e6
MOST_EVENNESS = 0.45
MOST_COST = 0.40
MEMORY_NOISE = 64 << 20
"""Bytes by which the memory of two runs may differ that is the same but for chance."""

_IDLE = 0.05
"""Other programs that take a larger share of the cores spoil a wall time."""


@dataclass(frozen=True)
class Verdict:
    """Whether something that must hold does; `holds` is None if that could not be judged."""

    what: str
    found: str
    holds: bool | None


@dataclass(frozen=True)
class Measured:
    """All that one run of the bench has found."""

    speeds: list[Speed]
    evenness: Evenness | None = None
    rival: Rival | None = None
    costs: Sequence[Cost] = ()


def describe_machine() -> dict[str, Any]:
    """The cores, the memory and the versions that the figures depend on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    libraries = ("numpy", "lazrs", "laspy", "copclib")
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / GIBIBYTE, 1),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in libraries},
        },
    }


def judge(measured: Measured) -> list[Verdict]:
    """Everything that must hold and was measured."""
    verdicts = [verdict for speed in measured.speeds for verdict in _judge_speed(speed)]
    if measured.evenness:
        named = zip(("0", "0-1", "0-2"), measured.evenness.levels, strict=False)
        verdicts += [
            Verdict(
                f"evenness of level {levels} <= {MOST_EVENNESS}",
                f"{found:.2f}",
                found <= MOST_EVENNESS,
            )
            for levels, found in named
        ]
    verdicts += [
        Verdict(
            f"{cost.name} products cost <= {MOST_COST:+.0%} CPU",
            f"{cost.more:+.1%}",
            cost.more <= MOST_COST and not cost.left_out,
        )
        for cost in measured.costs
        if len(cost.products) > 1
    ]
    return verdicts


def judge_flatness(small: Speed, large: Speed) -> Verdict:
    """The memory does not grow with the cloud."""
    return Verdict(
        f"memory of {_cloud(large)} as that of {_cloud(small)}, {_mib(MEMORY_NOISE)} MiB more or less",
        f"{_mib(large.highest)} and {_mib(small.highest)} MiB",
        abs(large.highest - small.highest) <= MEMORY_NOISE,
    )


def _judge_speed(speed: Speed) -> Iterable[Verdict]:
    name = _cloud(speed)
    if speed.ratio is not None:
        found = f"{speed.ratio:.2f} (aim {AIMED_RATIO})"
        yield Verdict(f"CPU of {name} <= {MOST_RATIO} x floor", found, speed.ratio <= MOST_RATIO)
        rate = speed.points / speed.wall
        quiet = speed.others <= _IDLE and WORKERS == 2
        found = f"{rate / 1e6:.2f} M points/s (aim {AIMED_SPEED / 1e6})"
        if not quiet:
            found += f", but others had {speed.others:.0%} of the cores"
        what = f"speed of {name} >= {LEAST_SPEED / 1e6} M points/s on two idle cores"
        yield Verdict(what, found, rate >= LEAST_SPEED if quiet else None)
    most = min(speed.memory_given, GIBIBYTE)
    found = f"{_mib(speed.highest)} MiB, all points are {_mib(speed.record_bytes)} MiB"
    yield Verdict(f"memory of {name} <= {_mib(most)} MiB", found, speed.highest <= most)


def tables(measured: Measured) -> Iterable[str]:
    """Lines to print."""
    yield f"{'COPC alone':16} {_SPEED_HEAD}"
    yield from (_speed_line(speed) for speed in measured.speeds)
    if measured.rival:
        yield ""
        yield _rival_line(measured.rival)
    yield ""
    yield "Wall seconds by stage"
    for speed in measured.speeds:
        stages = "  ".join(f"{name} {seconds:.1f}" for name, seconds in speed.stages.items())
        yield f"{_cloud(speed):16} {stages}"
    if measured.costs:
        yield ""
        yield f"{'COPC and':20} {'CPU s':>7} {'more':>6}"
        yield from (_cost_line(cost) for cost in measured.costs)
    if measured.evenness:
        yield ""
        yield f"{'Evenness, levels':20} {'0':>6} {'0-1':>6} {'0-2':>6} {'0-3':>6}"
        ours = {"Pointmill": measured.evenness.levels}
        for name, levels in (ours | OTHERS).items():
            yield f"{name:20} {' '.join(f'{level:6.2f}' for level in levels)}"
        yield f"{'all points':20} {measured.evenness.whole:6.2f}"


_SPEED_HEAD = (
    f"{'procs':>5} {'wall s':>7} {'CPU s':>7} {'floor wall':>10} {'CPU':>7} {'ratio':>6} {'pairs':>11} "
    f"{'M/s':>5} {'M/core-s':>8} {'held MiB':>8} {'highest':>7} {'B/point':>7}"
)


def _speed_line(speed: Speed) -> str:
    floor = f"{'':10} {'':7} {'':6} {'':11}"
    if speed.floor_wall and speed.floor_cpu and speed.ratio:
        pairs = f"{min(speed.ratios):.2f}-{max(speed.ratios):.2f}"
        floor = f"{speed.floor_wall:10.2f} {speed.floor_cpu:7.2f} {speed.ratio:6.3f} {pairs:>11}"
    million = speed.points / 1e6
    return (
        f"{_cloud(speed):16} {speed.processes:5} {speed.wall:7.2f} {speed.cpu:7.2f} {floor} "
        f"{million / speed.wall:5.2f} {million / speed.cpu:8.2f} {_mib(speed.held):8} "
        f"{_mib(speed.highest):7} {speed.copc_bytes / speed.points:7.2f}"
    )


def _cost_line(cost: Cost) -> str:
    missing = f"  without {', '.join(cost.left_out)}" if cost.left_out else ""
    return f"{cost.name:20} {cost.cpu:7.2f} {cost.more:+6.1%}{missing}"


def _rival_line(rival: Rival) -> str:
    million = rival.points / 1e6
    return (
        f"copclib, given the octree, one process, {million:.0f} M points: {rival.wall:.2f} s wall, "
        f"{rival.cpu:.2f} s CPU, {million / rival.cpu:.2f} M points/core-s"
    )


def _cloud(speed: Speed) -> str:
    budget = "" if speed.memory_given == GIBIBYTE else f" in {_mib(speed.memory_given)} MiB"
    return f"{speed.points // 1_000_000} M, format {speed.point_format}{budget}"


def _mib(size: int) -> int:
    return size >> 20


def as_json(measured: Measured, verdicts: list[Verdict]) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "machine": describe_machine(),
        "speeds": [asdict(speed) | {"ratio": speed.ratio} for speed in measured.speeds],
        "evenness": asdict(measured.evenness) if measured.evenness else None,
        "evenness_of_others": OTHERS,
        "copclib": asdict(measured.rival) if measured.rival else None,
        "costs": [asdict(cost) for cost in measured.costs],
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }

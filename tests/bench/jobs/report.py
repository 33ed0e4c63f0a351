"""What was measured, as a table for people; what must hold, and whether it does."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.jobs.contestants import CELERY, FASTSTREAM, POINTMILL, Contestant
from tests.bench.jobs.ours import LEASE_SECONDS, Ours
from tests.bench.jobs.rounds import Round

POST_BESIDE_CELERY, POST_BESIDE_FASTSTREAM = 4.0, 1.3
DRAIN_BESIDE_CELERY, DRAIN_BESIDE_FASTSTREAM = 8.0, 3.0
MOST_END_TO_END_MS = 20.0
MOST_RECOVERY_SECONDS = LEASE_SECONDS + 2
MOST_PROGRESS_MS = 200.0

_IDLE = 0.1
"""Other programs that take a larger share of the cores spoil every figure that is a time."""

Found = dict[str, list[Round]]


@dataclass(frozen=True)
class Verdict:
    """Whether something that must hold does; `holds` is None if that could not be judged."""

    what: str
    found: str
    holds: bool | None


def describe_machine() -> dict[str, Any]:
    """The cores and the system that the figures depend on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {"cpu": names[0] if names else "", "cores": os.cpu_count(), "kernel": os.uname().release}


def middle(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    """The median over the rounds."""
    return median(figure(one) for one in rounds)


def share(ordered: Sequence[float], part: float) -> float:
    """The value below which this part of the ordered values lies."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def end_to_end(rounds: Sequence[Round]) -> list[float]:
    """All end-to-end times of all rounds, sorted."""
    return sorted(value for one in rounds for value in one.end_to_end)


def judge(found: Found, ours: Ours | None, others: float) -> list[Verdict]:
    """Everything that must hold and was measured."""
    verdicts: list[Verdict] = []
    if {CELERY.mark, FASTSTREAM.mark, POINTMILL.mark} <= found.keys():
        for what, figure, beside in (
            ("POST/s", _post_rate, (POST_BESIDE_CELERY, POST_BESIDE_FASTSTREAM)),
            ("drain", _drain_rate, (DRAIN_BESIDE_CELERY, DRAIN_BESIDE_FASTSTREAM)),
        ):
            for rival, least in zip((CELERY, FASTSTREAM), beside, strict=True):
                verdicts.append(_judge_ratio(found, what, figure, rival, least, others))
    if POINTMILL.mark in found:
        slowest = share(end_to_end(found[POINTMILL.mark]), 0.99)
        verdicts.append(
            _judge_time(f"end to end at 20/s, p99 <= {MOST_END_TO_END_MS:.0f} ms",
                        slowest, MOST_END_TO_END_MS, "ms", others)
        )  # fmt: skip
    if ours is not None:
        verdicts += [
            _judge_time(f"job of a killed worker taken up in < {MOST_RECOVERY_SECONDS:.0f} s",
                        ours.recovery, MOST_RECOVERY_SECONDS, "s", others),
            _judge_time(f"progress at a listener in < {MOST_PROGRESS_MS:.0f} ms (slowest)",
                        ours.progress[-1], MOST_PROGRESS_MS, "ms", others),
        ]  # fmt: skip
    return verdicts


def _post_rate(one: Round) -> float:
    return one.posting.rate


def _drain_rate(one: Round) -> float:
    return one.draining.rate


def _judge_ratio(
    found: Found,
    what: str,
    figure: Callable[[Round], float],
    rival: Contestant,
    least: float,
    others: float,
) -> Verdict:
    # Round by round: what else went on was about the same for neighbours.
    pairs = zip(found[POINTMILL.mark], found[rival.mark], strict=True)
    ratios = [figure(mine) / figure(theirs) for mine, theirs in pairs]
    shown = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    holds: bool | None = median(ratios) >= least
    if others > _IDLE:
        # Who waits for a core all the time is as slow as who works all the time.
        holds, shown = None, f"{shown}, but others had {others:.0%} of the cores"
    return Verdict(f"{what} >= {least} x {rival.name}", shown, holds)


def _judge_time(what: str, value: float, most: float, unit: str, others: float) -> Verdict:
    holds: bool | None = value <= most
    found = f"{value:.1f} {unit}"
    if not holds and others > _IDLE:
        holds, found = None, f"{found}, but others had {others:.0%} of the cores"
    return Verdict(what, found, holds)


_HEAD = (
    f"{'':2} {'POST/s':>7} {'p50 ms':>7} {'p99':>6} {'CPU us':>7} {'PG':>5} {'MQ':>5} {'load':>5}"
    f"  {'e2e p50':>7} {'p99':>6} {'CPU us':>7}  {'drain/s':>7} {'CPU us':>7} {'PG':>5} {'MQ':>5}"
)


def table(found: Found, contestants: Iterable[Contestant], ours: Ours | None) -> Iterable[str]:
    """Lines to print."""
    for contestant in contestants:
        yield f"{contestant.mark}  {contestant.name}"
    yield ""
    yield _HEAD
    for mark, rounds in found.items():
        yield _line(mark, rounds)
    if POINTMILL.mark in found:
        rounds = found[POINTMILL.mark]
        lag = max(one.posting.lag or 0 for one in rounds)
        behind = max(one.posting.behind or 0 for one in rounds)
        yield ""
        yield f"Events while orders pour in: {lag:.2f} s behind at most; all told {behind:.2f} s after the last."
        lag = max(one.draining.lag or 0 for one in rounds)
        behind = max(one.draining.behind or 0 for one in rounds)
        yield f"Events of a drain: {lag:.2f} s behind at most; all told {behind:.2f} s after the last commit."
    if ours is not None:
        yield f"Relay alone: {ours.relay_rate:,.0f} messages/s, {ours.relay_cost:.0f} us CPU each."


def _line(mark: str, rounds: Sequence[Round]) -> str:
    times = end_to_end(rounds)
    figures = (
        f"{middle(rounds, lambda one: one.posting.rate):7.0f}",
        f"{middle(rounds, lambda one: one.posting.p50):7.1f}",
        f"{middle(rounds, lambda one: one.posting.p99):6.0f}",
        f"{middle(rounds, lambda one: one.posting.cost.program):7.0f}",
        f"{middle(rounds, lambda one: one.posting.cost.postgres):5.0f}",
        f"{middle(rounds, lambda one: one.posting.cost.rabbitmq):5.0f}",
        f"{middle(rounds, lambda one: one.posting.load):5.0%}",
        f" {share(times, 0.5):7.1f}",
        f"{share(times, 0.99):6.1f}",
        f"{middle(rounds, lambda one: one.single.program):7.0f}",
        f" {middle(rounds, lambda one: one.draining.rate):7.0f}",
        f"{middle(rounds, lambda one: one.draining.cost.program):7.0f}",
        f"{middle(rounds, lambda one: one.draining.cost.postgres):5.0f}",
        f"{middle(rounds, lambda one: one.draining.cost.rabbitmq):5.0f}",
    )
    return f"{mark:2} {' '.join(figures)}"


def as_json(
    found: Found, ours: Ours | None, others: float, verdicts: list[Verdict]
) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "machine": describe_machine(),
        "others": others,
        "rounds": {mark: [asdict(one) for one in rounds] for mark, rounds in found.items()},
        "ours": asdict(ours) if ours else None,
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }

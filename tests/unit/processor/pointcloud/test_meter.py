"""Progress is a fraction of time, and what is said to be left is left, within a factor of two."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from services.processor.pointcloud.meter import Meter, Span

FORECAST = {"read": Span(0.3, 12.0), "build": Span(0.0, 9.0), "write": Span(0.0, 2.0)}
STEPS = {"read": 8, "build": 20, "write": 1}


@dataclass
class Run:
    """A pretended run: time passes when it is told to, and all that the meter says is kept."""

    now: float = 1000.0
    said: list[tuple[float, float, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.meter = Meter(self.hear, lambda: self.now)

    def hear(self, _stage: str, fraction: float, _message: str, left: float | None) -> None:
        self.said.append((self.now - 1000.0, fraction, left))

    def go(self, stage: str, seconds: float, share: float = 1.0) -> None:
        """Go through a share of a stage that as a whole takes so many seconds."""
        steps = STEPS[stage]
        self.meter.stage(stage, steps, stage)
        for _ in range(round(steps * share)):
            self.now += seconds / steps
            self.meter.add(1)

    def errors(self) -> Iterator[float]:
        """What was said over what was true, or the reverse, after the first fifth."""
        end = self.now - 1000.0
        for passed, _, left in self.said:
            if passed > end / 5:
                assert left is not None
                told, true = max(left, 0.5), max(end - passed, 0.5)
                yield max(told / true, true / told)


def test_nothing_is_said_of_the_time_before_anything_is_known() -> None:
    run = Run()
    run.meter.stage("inspect", 1, "Inspecting")
    assert run.said == [(0.0, 0.0, None)]


def test_a_run_as_expected_is_told_exactly() -> None:
    run = Run()
    run.meter.expect({"read": Span(0.0, 12.0), "build": Span(0.0, 9.0), "write": Span(0.0, 2.0)})
    for stage, seconds in (("read", 12.0), ("build", 9.0), ("write", 2.0)):
        run.go(stage, seconds)
    run.meter.finish()
    assert [left for _, _, left in run.said] == pytest.approx(
        [23.0 - passed for passed, _, _ in run.said]
    )
    assert [fraction for _, fraction, _ in run.said] == pytest.approx(
        [passed / 23.0 for passed, _, _ in run.said], abs=1e-4
    )
    assert run.meter.seconds == {"read": 12.0, "build": 9.0, "write": 2.0}


@pytest.mark.parametrize("machine", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(
    ("read", "build", "write"), [(1.0, 1.0, 1.0), (1.3, 0.8, 0.8), (0.8, 1.3, 1.3), (1.2, 1.0, 0.7)]
)
def test_the_rest_is_right_within_a_factor_of_two_on_machines_and_files_of_many_kinds(
    machine: float, read: float, build: float, write: float
) -> None:
    run = Run()
    run.meter.expect(FORECAST)
    run.now += FORECAST["read"].lead * machine
    for stage, slower in (("read", read), ("build", build), ("write", write)):
        run.go(stage, FORECAST[stage].run * slower * machine)
    run.meter.finish()
    assert max(run.errors()) < 2


@pytest.mark.parametrize("machine", [0.5, 1.0, 3.0])
def test_a_second_reading_makes_it_longer_but_not_wrong(machine: float) -> None:
    run = Run()
    run.meter.expect(FORECAST)
    run.go("read", FORECAST["read"].whole * machine, share=0.5)
    run.meter.again("read", needed=True)
    for _ in range(4):
        run.now += FORECAST["read"].whole * machine / 8
        run.meter.add(1)
    for stage in ("read", "build", "write"):
        run.go(stage, FORECAST[stage].whole * machine)
    run.meter.finish()
    assert max(run.errors()) < 2
    fractions = [fraction for _, fraction, _ in run.said]
    assert fractions == sorted(fractions)
    assert run.meter.seconds["read"] == pytest.approx(2 * 12.3 * machine)


@pytest.mark.parametrize(("shared", "alone"), [(3.0, 1.2), (3.0, 3.0), (0.5, 0.5)])
def test_a_busy_machine_slows_what_is_shared_more_than_what_one_process_does(
    shared: float, alone: float
) -> None:
    run = Run()
    run.meter.expect(
        {"read": Span(0.1, 12.0, True), "build": Span(0.0, 9.0, True), "write": Span(0.0, 5.0)}
    )
    for stage, seconds in (
        ("read", 12.1 * shared),
        ("build", 9.0 * shared),
        ("write", 5.0 * alone),
    ):
        run.go(stage, seconds)
    run.meter.finish()
    assert max(run.errors()) < 2


def test_what_took_time_before_anything_was_known_says_nothing_of_the_pace() -> None:
    run = Run()
    run.meter.stage("inspect", 1, "Inspecting")
    run.now += 20.0
    run.meter.expect(FORECAST)
    run.go("read", FORECAST["read"].whole, share=0.5)
    assert run.said[-1][2] == pytest.approx(FORECAST["read"].run / 2 + 11.0, rel=0.1)


def test_work_that_is_begun_anew_is_expected_anew() -> None:
    run = Run()
    run.meter.expect(FORECAST)
    run.go("read", 12.3, share=0.5)
    run.meter.expect(FORECAST)
    for stage in ("read", "build", "write"):
        run.go(stage, FORECAST[stage].whole)
    run.meter.finish()
    assert max(run.errors()) < 2


def test_time_that_is_left_is_never_negative_and_the_end_is_the_end() -> None:
    run = Run()
    run.meter.expect({"read": Span(0.0, 1.0)})
    run.go("read", 1.0)
    run.meter.add(5)
    run.meter.stage("unheard", 3, "A stage that nobody expected")
    run.now += 10
    run.meter.add(1)
    run.meter.finish()
    assert all(left is None or left >= 0 for _, _, left in run.said)
    assert run.said[-1][1:] == (1.0, 0.0)

"""What must hold is judged by the figures, and by nothing that other programs spoil."""

from dataclasses import replace

import pytest

from tests.bench.engine import report
from tests.bench.engine.report import Measured, as_json, judge, judge_flatness, tables
from tests.bench.engine.speed import GIBIBYTE, Cost, Evenness, Rival, Speed

GOOD = Speed(
    source="cloud.laz",
    points=10_000_000,
    point_format=7,
    memory_given=GIBIBYTE,
    processes=2,
    wall=5.0,
    cpu=9.0,
    others=0.01,
    floor_wall=4.0,
    floor_cpu=7.0,
    ratios=[1.28, 1.29, 1.30],
    held=300 << 20,
    highest=400 << 20,
    stages={"read": 3.0},
    record_bytes=360_000_000,
    source_bytes=60_000_000,
    copc_bytes=70_000_000,
)
ALL = Measured(
    [GOOD],
    Evenness([0.3, 0.2, 0.45, 0.9], 0.36),
    Rival(10_000_000, 7.0, 7.0),
    [Cost([], "COPC alone", 9.0, 0.0, []), Cost(["dsm", "info"], "all", 12.0, 0.33, [])],
)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "WORKERS", 2)


def test_good_figures_hold() -> None:
    verdicts = judge(ALL)
    assert len(verdicts) == 7
    assert all(verdict.holds for verdict in verdicts)


@pytest.mark.parametrize(
    ("worse", "what"),
    [
        (replace(ALL, speeds=[replace(GOOD, cpu=9.5)]), "floor"),
        (replace(ALL, speeds=[replace(GOOD, wall=6.3)]), "points/s"),
        (replace(ALL, speeds=[replace(GOOD, highest=1025 << 20)]), "memory"),
        (replace(ALL, evenness=Evenness([0.3, 0.46, 0.2], 0.3)), "evenness of level 0-1"),
        (replace(ALL, costs=[Cost(["dsm", "info"], "all", 13.0, 0.41, [])]), "all products"),
        (replace(ALL, costs=[Cost(["dsm", "info"], "all", 9.0, 0.0, ["dsm"])]), "all products"),
    ],
)
def test_a_figure_over_its_limit_fails_alone(worse: Measured, what: str) -> None:
    failed = [verdict.what for verdict in judge(worse) if verdict.holds is False]
    assert len(failed) == 1
    assert what in failed[0]


def test_a_wall_time_is_not_judged_while_others_are_at_work() -> None:
    verdicts = judge(Measured([replace(GOOD, wall=60.0, others=0.3)]))
    assert [verdict.holds for verdict in verdicts] == [True, None, True]
    assert "30%" in verdicts[1].found


def test_a_budget_smaller_than_a_gibibyte_is_the_limit_of_the_memory() -> None:
    verdicts = judge(Measured([replace(GOOD, memory_given=300 << 20)]))
    assert verdicts[-1].holds is False


def test_memory_that_grows_with_the_cloud_is_seen() -> None:
    assert judge_flatness(GOOD, replace(GOOD, highest=GOOD.highest + (60 << 20))).holds
    assert not judge_flatness(GOOD, replace(GOOD, highest=GOOD.highest + (70 << 20))).holds


def test_tables_and_json_tell_all_of_it() -> None:
    text = "\n".join(tables(ALL))
    for said in ("10 M, format 7", "1.286", "copclib", "+33.0%", "untwine", "0.45", "read 3.0"):
        assert said in text
    content = as_json(ALL, judge(ALL))
    assert content["speeds"][0]["ratio"] == pytest.approx(9 / 7)
    assert content["machine"]["cores"] > 0
    assert len(content["verdicts"]) == 7

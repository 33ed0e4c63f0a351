"""A key's bucket of requests: how much it holds, how it fills, what is told of it."""

import pytest

from services.gateway import ration
from services.gateway.problems import Problem
from services.gateway.ration import Buckets


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ration, "time", clock)
    return clock


def take_all(buckets: Buckets, who: str) -> tuple[int, Problem]:
    for taken in range(100_000):
        try:
            buckets.take(who)
        except Problem as problem:
            return taken, problem
    raise AssertionError("it never ends")


def test_ten_seconds_worth_come_at_once_then_no_more(clock: Clock) -> None:
    buckets = Buckets(5)
    told = buckets.take("a")
    assert told == {"RateLimit-Policy": '"default";q=50;w=10', "RateLimit": '"default";r=49;t=1'}
    taken, problem = take_all(buckets, "a")
    assert taken == 49
    assert (problem.status, problem.code) == (429, "too_many_requests")
    assert problem.headers["Retry-After"] == "1"
    assert problem.headers["RateLimit"] == '"default";r=0;t=10'


def test_it_fills_as_time_passes_and_never_over(clock: Clock) -> None:
    buckets = Buckets(5)
    take_all(buckets, "a")
    clock.now += 1
    assert take_all(buckets, "a")[0] == 5
    clock.now += 1_000_000
    assert take_all(buckets, "a")[0] == 50


def test_a_slow_rate_says_how_long_to_wait(clock: Clock) -> None:
    buckets = Buckets(0.05)
    taken, problem = take_all(buckets, "a")
    assert (taken, problem.headers["Retry-After"]) == (1, "20")


def test_one_callers_bucket_is_not_anothers(clock: Clock) -> None:
    buckets = Buckets(1)
    take_all(buckets, "a")
    assert take_all(buckets, "b")[0] == 10


def test_without_a_rate_nothing_is_counted_and_nothing_told(clock: Clock) -> None:
    buckets = Buckets(0)
    assert all(buckets.take("a") == {} for _ in range(1000))


def test_full_buckets_are_forgotten_when_there_are_many(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ration, "MOST_BUCKETS", 10)
    buckets = Buckets(1)
    for number in range(10):
        buckets.take(f"idle {number}")
    clock.now += 5
    take_all(buckets, "busy")
    buckets.take("new")
    assert take_all(buckets, "busy")[0] == 0, "a busy one's must not be forgotten"
    assert len(buckets._buckets) == 2

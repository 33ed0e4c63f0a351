"""The moves of a job hold their promises for any interleaving of workers, reaper, cancel and retry."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.jobs import (
    ENDS,
    MOVES,
    Beat,
    Cancel,
    Claim,
    Fail,
    Finish,
    Job,
    JobState,
    Move,
    Overdue,
    Reap,
    Refusal,
    Release,
    may_move,
    move,
    retry_pause,
)

WORKERS = st.sampled_from(["first", "second"])
CODES = st.sampled_from(["x", "again", "never"])
LEASE = 15.0
START_WITHIN = 100.0
END_WITHIN = 5000.0
Mover = Callable[[Job, Move, float], Job | Refusal]


class Life(RuleBasedStateMachine):
    """One job after the other, two workers, each of which may be a zombie that still believes in an old attempt.

    The test keeps its own book of who holds the job: the claim that was granted last.
    """

    mover: Mover = staticmethod(move)

    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def begin(self) -> None:
        self.now = 0.0
        self.job = Job(
            available_at=0.0,
            start_by=START_WITHIN,
            end_by=END_WITHIN,
            max_failures=2,
            retry_codes=frozenset({"again"}),
            no_retry_codes=frozenset({"never"}),
        )
        self.believes: dict[str, int] = {"first": 0, "second": 0}
        self.owner: str | None = None
        self.lease_ends = 0.0
        self.asked = False
        self.results = 0

    def attempt_move(self, what: Move) -> bool:
        """Make the move and hold it against what is true of every move; whether it was granted."""
        before, after = self.job, self.mover(self.job, what, self.now)
        if isinstance(after, Refusal):
            return False
        assert before.state not in ENDS, "an end is final"
        assert after.state is before.state or may_move(before.state, after.state)
        assert after.sequence == before.sequence + (not isinstance(what, Beat))
        assert after.attempt == before.attempt + isinstance(what, Claim)
        assert after.failures >= before.failures
        assert not (self.asked and after.state in {JobState.QUEUED, JobState.SUCCEEDED})
        self.job = after
        if after.state is not JobState.RUNNING:
            self.owner = None
        return True

    def owns(self, worker: str) -> bool:
        return self.owner == worker

    @rule(worker=WORKERS)
    def claim(self, worker: str) -> None:
        waited = self.job.state is JobState.QUEUED and self.job.available_at <= self.now
        granted = self.attempt_move(Claim(worker, LEASE))
        assert granted == waited
        if granted:
            self.owner, self.lease_ends = worker, self.now + LEASE
            self.believes[worker] = self.job.attempt

    @rule(worker=WORKERS)
    def beat(self, worker: str) -> None:
        owned = self.owns(worker)
        assert self.attempt_move(Beat(self.believes[worker], LEASE)) == owned
        if owned:
            self.lease_ends = self.now + LEASE

    @rule(worker=WORKERS)
    def finish(self, worker: str) -> None:
        owned = self.owns(worker)
        granted = self.attempt_move(Finish(self.believes[worker]))
        assert granted == (owned and not self.asked)
        self.results += granted

    @rule(worker=WORKERS, code=CODES, retryable=st.booleans(), chance=st.floats(0, 1))
    def fail(self, worker: str, code: str, retryable: bool, chance: float) -> None:
        owned, failures = self.owns(worker), self.job.failures
        assert self.attempt_move(Fail(self.believes[worker], code, retryable, chance)) == owned
        if owned and not self.asked:
            final = failures + 1 == self.job.max_failures or self.now > END_WITHIN
            helps = code == "again" or (retryable and code != "never")
            assert self.job.failures == failures + 1
            assert (self.job.state is JobState.FAILED) == (final or not helps)

    @rule(worker=WORKERS)
    def release(self, worker: str) -> None:
        owned, failures = self.owns(worker), self.job.failures
        assert self.attempt_move(Release(self.believes[worker])) == owned
        assert self.job.failures == failures
        if owned and not self.asked:
            assert self.job.available_at == self.now

    @rule(chance=st.floats(0, 1))
    def reap(self, chance: float) -> None:
        silent = self.owner is not None and self.lease_ends < self.now
        assert self.attempt_move(Reap(chance)) == silent

    @rule()
    def cancel(self) -> None:
        open_ = self.job.state not in ENDS and not self.asked
        assert self.attempt_move(Cancel()) == open_
        self.asked |= open_

    @rule()
    def overdue(self) -> None:
        queued = self.job.state is JobState.QUEUED
        late = queued and min(self.job.start_by, END_WITHIN) < self.now
        late |= self.owner is not None and not self.asked and self.now > END_WITHIN + 30
        assert self.attempt_move(Overdue()) == late

    @rule(worker=WORKERS, code=CODES, retryable=st.booleans())
    def a_whole_attempt_fails(self, worker: str, code: str, retryable: bool) -> None:
        """What single rules seldom line up to: the budget is used up."""
        self.now += 10.0
        self.claim(worker)
        self.fail(worker, code, retryable, chance=0.5)

    @rule(worker=WORKERS, over=st.sampled_from([1.0, 31.0]))
    def an_attempt_outlives_the_time_in_all(self, worker: str, over: float) -> None:
        self.claim(worker)
        self.now = max(self.now, END_WITHIN + over)
        self.overdue()
        self.fail(worker, "x", retryable=True, chance=0.5)

    @precondition(lambda self: self.job.state in ENDS)
    @rule()
    def another_job_begins(self) -> None:
        """Nothing new would come of the old one."""
        self.begin()

    @rule(seconds=st.sampled_from([0.5, 4.0, 20.0, 200.0, 8000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def it_is_held_exactly_while_it_runs(self) -> None:
        running = self.job.state is JobState.RUNNING
        assert (self.job.holder is not None) == running
        assert (self.job.lease_until is not None) == running
        assert self.job.holder == self.owner

    @invariant()
    def a_success_has_one_result_and_no_other_end_has_any(self) -> None:
        assert self.results == (self.job.state is JobState.SUCCEEDED)

    @invariant()
    def a_failure_has_a_code_and_no_more_attempts_fail_than_may(self) -> None:
        assert self.job.state is not JobState.FAILED or self.job.error
        assert self.job.failures <= self.job.max_failures

    @invariant()
    def what_comes_back_to_the_queue_has_time_to_be_started(self) -> None:
        if self.job.state is JobState.QUEUED and self.job.attempt:
            assert self.job.start_by >= self.job.available_at + 3600


def live(mover: Mover, examples: int) -> None:
    """Lead many lives under the given rules.

    Raises:
        AssertionError: a promise was broken.
    """

    class Lived(Life):
        pass

    Lived.mover = staticmethod(mover)
    run_state_machine_as_test(
        Lived,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            # What breaks a promise need not be shown in its shortest form.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


def test_no_interleaving_of_workers_reaper_cancel_and_time_breaks_a_promise() -> None:
    live(move, 300)


def without_the_fence(job: Job, what: Move, now: float) -> Job | Refusal:
    if isinstance(what, Beat | Finish | Fail | Release):
        what = replace(what, attempt=job.attempt)
    return move(job, what, now)


def with_a_reaper_that_does_not_look_at_the_lease(
    job: Job, what: Move, now: float
) -> Job | Refusal:
    return move(job, what, now + 1e9 if isinstance(what, Reap) else now)


def with_a_success_that_beats_a_cancel(job: Job, what: Move, now: float) -> Job | Refusal:
    return move(replace(job, cancel_asked=False) if isinstance(what, Finish) else job, what, now)


def with_a_retry_that_forgets_the_cancel(job: Job, what: Move, now: float) -> Job | Refusal:
    forgets = isinstance(what, Fail | Reap | Release)
    return move(replace(job, cancel_asked=False) if forgets else job, what, now)


def with_an_end_that_can_be_left(job: Job, what: Move, now: float) -> Job | Refusal:
    if isinstance(what, Cancel) and job.state is JobState.FAILED:
        job = replace(job, state=JobState.QUEUED)
    return move(job, what, now)


def with_moves_that_are_not_counted(job: Job, what: Move, now: float) -> Job | Refusal:
    after = move(job, what, now)
    return after if isinstance(after, Refusal) else replace(after, sequence=job.sequence)


def with_an_attempt_that_is_used_twice(job: Job, what: Move, now: float) -> Job | Refusal:
    after = move(job, what, now)
    return after if isinstance(after, Refusal) else replace(after, attempt=max(job.attempt, 1))


def with_a_release_that_costs_a_failure(job: Job, what: Move, now: float) -> Job | Refusal:
    return move(job, Fail(what.attempt, "x", True) if isinstance(what, Release) else what, now)


def with_retries_that_never_end(job: Job, what: Move, now: float) -> Job | Refusal:
    after = move(replace(job, max_failures=99), what, now)
    return after if isinstance(after, Refusal) else replace(after, max_failures=job.max_failures)


def with_retries_after_the_end(job: Job, what: Move, now: float) -> Job | Refusal:
    if not isinstance(what, Fail | Reap):
        return move(job, what, now)
    after = move(replace(job, end_by=None), what, now)
    return after if isinstance(after, Refusal) else replace(after, end_by=job.end_by)


def without_the_word_of_the_kind(job: Job, what: Move, now: float) -> Job | Refusal:
    return move(job, replace(what, code="x") if isinstance(what, Fail) else what, now)


def with_a_reaper_that_never_ends_what_runs_too_long(
    job: Job, what: Move, now: float
) -> Job | Refusal:
    runs = isinstance(what, Overdue) and job.state is JobState.RUNNING
    return Refusal.IN_TIME if runs else move(job, what, now)


def with_claims_before_their_time(job: Job, what: Move, now: float) -> Job | Refusal:
    return move(job, what, now + 1e9 if isinstance(what, Claim) else now)


def with_a_retry_that_may_be_overdue_at_once(job: Job, what: Move, now: float) -> Job | Refusal:
    after = move(job, what, now)
    return after if isinstance(after, Refusal) else replace(after, start_by=job.start_by)


@pytest.mark.parametrize(
    "variant",
    [
        without_the_fence,
        with_a_reaper_that_does_not_look_at_the_lease,
        with_a_success_that_beats_a_cancel,
        with_a_retry_that_forgets_the_cancel,
        with_an_end_that_can_be_left,
        with_moves_that_are_not_counted,
        with_an_attempt_that_is_used_twice,
        with_a_release_that_costs_a_failure,
        with_retries_that_never_end,
        with_retries_after_the_end,
        without_the_word_of_the_kind,
        with_a_reaper_that_never_ends_what_runs_too_long,
        with_claims_before_their_time,
        with_a_retry_that_may_be_overdue_at_once,
    ],
    ids=lambda variant: variant.__name__,
)
def test_a_rule_that_is_taken_out_is_missed(variant: Mover) -> None:
    with pytest.raises(AssertionError):
        live(variant, 1000)


def test_an_end_has_no_moves_and_every_other_state_reaches_one() -> None:
    assert all(not MOVES[end] for end in ENDS)
    assert all(MOVES[state] & ENDS for state in JobState if state not in ENDS)


def test_each_pause_is_twice_as_long_spread_over_its_second_half_and_never_over_an_hour() -> None:
    job = Job(available_at=0, start_by=0, backoff_seconds=2)
    pauses = [
        [retry_pause(replace(job, failures=failures), chance) for chance in (0, 1)]
        for failures in (0, 1, 2, 20)
    ]
    assert pauses == [[1, 2], [2, 4], [4, 8], [1800, 3600]]

"""The states of a job and the moves between them. Pure: no clock, no chance, no store.

The SQL functions of `sql/migrations` do the same to rows, the schema's trigger holds `MOVES`, and
`tests/integration/sql/test_job_walks.py` plays the same random walks against both. Times are seconds
on one clock, the database's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    # Back to queued: a retry, a lost lease, a worker that was told to leave.
    JobState.RUNNING: ENDS | {JobState.QUEUED},
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

LONGEST_PAUSE = 3600.0
# A job that comes back to the queue gets at least this long to be started again.
SECOND_CHANCE = 3600.0
# A worker ends an attempt that is out of time by itself; so long after, the reaper does.
OVERTIME = 30.0


def may_move(old: JobState, new: JobState) -> bool:
    """Whether a job may go from one state to the other."""
    return new in MOVES[old]


def slug(kind: str) -> str:
    """The kind where dots mean something: routing keys, queue names, module names."""
    return kind.replace(".", "_")


@dataclass(frozen=True)
class Job:
    """What decides about a job's next move.

    Attributes:
        available_at: not claimed before.
        start_by: failed if it is still queued then.
        end_by: failed if it has not ended then; None: no limit.
        max_failures: with this many failed attempts it fails for good.
        backoff_seconds: the pause after the first failure; doubles with each further one.
        retry_codes: failures that are tried again whatever they say of themselves.
        no_retry_codes: failures that never are.
        attempt: the fence; only ever grows, by one with each claim.
        failures: attempts that failed or were lost; a released one is none.
        sequence: counts the moves; each has one event of this number.
        holder: who has the lease.
        lease_until: from then on the reaper may take the job from its holder.
        error: the code of the latest failure.
    """

    available_at: float
    start_by: float
    end_by: float | None = None
    max_failures: int = 3
    backoff_seconds: float = 2.0
    retry_codes: frozenset[str] = frozenset()
    no_retry_codes: frozenset[str] = frozenset()
    state: JobState = JobState.QUEUED
    attempt: int = 0
    failures: int = 0
    sequence: int = 1
    holder: str | None = None
    lease_until: float | None = None
    cancel_asked: bool = False
    error: str | None = None

    def out_of_time(self, now: float) -> bool:
        """Whether it had to end before."""
        return self.end_by is not None and self.end_by < now


class Refusal(StrEnum):
    """Why a move does not happen; the job stays exactly as it is."""

    ENDED = "the job has ended"
    NOT_QUEUED = "somebody works on it already, or it waits for others"
    NOT_DUE = "it may not be claimed yet"
    NOT_OWNED = "another attempt owns the job, or none"
    CANCEL_ASKED = "somebody has asked to cancel it"
    LEASE_RUNS = "its holder may still renew the lease"
    IN_TIME = "it may still be started, or end, in time"


@dataclass(frozen=True)
class Claim:
    """A free slot takes the job up, for a lease of so many seconds."""

    holder: str
    lasts: float


@dataclass(frozen=True)
class Beat:
    """The attempt renews its lease. What it gets back tells of a cancel and of the time in all."""

    attempt: int
    lasts: float


@dataclass(frozen=True)
class Finish:
    """The attempt's work is done and stored."""

    attempt: int


@dataclass(frozen=True)
class Fail:
    """The attempt has failed; `chance` (0 to 1) spreads the pause before the next one."""

    attempt: int
    code: str
    retryable: bool
    chance: float = 0.0


@dataclass(frozen=True)
class Release:
    """The worker leaves and gives the job back."""

    attempt: int


@dataclass(frozen=True)
class Reap:
    """The holder has gone silent."""

    chance: float = 0.0


@dataclass(frozen=True)
class Cancel:
    """Somebody no longer wants it."""


@dataclass(frozen=True)
class Overdue:
    """It was not started, or has not ended, in time."""


Move = Claim | Beat | Finish | Fail | Release | Reap | Cancel | Overdue


def move(job: Job, what: Move, now: float) -> Job | Refusal:
    """The job after the move, or why it does not happen."""
    if job.state in ENDS:
        return Refusal.ENDED
    decide: Callable[[Job, Any, float], Job | Refusal] = _DECIDES[type(what)]
    return decide(job, what, now)


def retry_pause(job: Job, chance: float) -> float:
    """Seconds until the next attempt after one more failure.

    Full jitter over the second half of the pause, so that a fleet does not come back in step.
    """
    whole = min(job.backoff_seconds * 2.0**job.failures, LONGEST_PAUSE)
    return whole * (0.5 + chance / 2)


def _claim(job: Job, what: Claim, now: float) -> Job | Refusal:
    if job.state is not JobState.QUEUED:
        return Refusal.NOT_QUEUED
    if job.available_at > now:
        return Refusal.NOT_DUE
    return replace(
        job,
        state=JobState.RUNNING,
        attempt=job.attempt + 1,
        holder=what.holder,
        lease_until=now + what.lasts,
        sequence=job.sequence + 1,
    )


def _owns(job: Job, attempt: int) -> bool:
    return job.state is JobState.RUNNING and job.attempt == attempt


def _beat(job: Job, what: Beat, now: float) -> Job | Refusal:
    if not _owns(job, what.attempt):
        return Refusal.NOT_OWNED
    return replace(job, lease_until=now + what.lasts)


def _finish(job: Job, what: Finish, _now: float) -> Job | Refusal:
    if not _owns(job, what.attempt):
        return Refusal.NOT_OWNED
    if job.cancel_asked:
        return Refusal.CANCEL_ASKED
    return _leave(job, JobState.SUCCEEDED, error=None)


def _fail(job: Job, what: Fail, now: float) -> Job | Refusal:
    if not _owns(job, what.attempt):
        return Refusal.NOT_OWNED
    return _end_attempt(job, what.code, what.chance, now, retryable=what.retryable)


def _release(job: Job, what: Release, now: float) -> Job | Refusal:
    if not _owns(job, what.attempt):
        return Refusal.NOT_OWNED
    if job.cancel_asked:
        return _leave(job, JobState.CANCELLED)
    return _leave(
        job,
        JobState.QUEUED,
        available_at=now,
        start_by=max(job.start_by, now + SECOND_CHANCE),
    )


def _reap(job: Job, what: Reap, now: float) -> Job | Refusal:
    if job.state is not JobState.RUNNING:
        return Refusal.NOT_OWNED
    if job.lease_until is not None and job.lease_until >= now:
        return Refusal.LEASE_RUNS
    return _end_attempt(job, "worker_lost", what.chance, now, retryable=True)


def _cancel(job: Job, _what: Cancel, _now: float) -> Job | Refusal:
    if job.state is not JobState.RUNNING:
        return _leave(job, JobState.CANCELLED, cancel_asked=True)
    if job.cancel_asked:
        return Refusal.CANCEL_ASKED
    # Its worker learns of it by its next beat, and ends it; the reaper does if there is none.
    return replace(job, cancel_asked=True, sequence=job.sequence + 1)


def _overdue(job: Job, _what: Overdue, now: float) -> Job | Refusal:
    if job.state is JobState.RUNNING:
        if job.cancel_asked:
            return Refusal.CANCEL_ASKED
        if not job.out_of_time(now - OVERTIME):
            return Refusal.IN_TIME
        return _leave(job, JobState.FAILED, failures=job.failures + 1, error="total_time_limit")
    if job.out_of_time(now):
        return _leave(job, JobState.FAILED, error="total_time_limit")
    if job.state is JobState.QUEUED and job.start_by < now:
        return _leave(job, JobState.FAILED, error="not_started")
    return Refusal.IN_TIME


def _end_attempt(job: Job, code: str, chance: float, now: float, *, retryable: bool) -> Job:
    """Cancelled where that was asked for; queued again where code, budget and time allow; failed."""
    if job.cancel_asked:
        return _leave(job, JobState.CANCELLED)
    failures = job.failures + 1
    again = (retryable or code in job.retry_codes) and code not in job.no_retry_codes
    if not again or failures >= job.max_failures:
        return _leave(job, JobState.FAILED, failures=failures, error=code)
    if job.out_of_time(now):
        return _leave(job, JobState.FAILED, failures=failures, error="total_time_limit")
    due = now + retry_pause(job, chance)
    return _leave(
        job,
        JobState.QUEUED,
        failures=failures,
        error=code,
        available_at=due,
        start_by=max(job.start_by, due + SECOND_CHANCE),
    )


def _leave(job: Job, state: JobState, **changes: Any) -> Job:
    """Nobody holds it any more: back in the queue or at an end."""
    return replace(
        job, state=state, holder=None, lease_until=None, sequence=job.sequence + 1, **changes
    )


_DECIDES: Mapping[type, Callable[[Job, Any, float], Job | Refusal]] = {
    Claim: _claim,
    Beat: _beat,
    Finish: _finish,
    Fail: _fail,
    Release: _release,
    Reap: _reap,
    Cancel: _cancel,
    Overdue: _overdue,
}

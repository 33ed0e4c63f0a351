"""The states of a job and the moves between them. Pure: the schema holds the same moves as a trigger."""

from enum import StrEnum


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


def may_move(old: JobState, new: JobState) -> bool:
    """Whether a job may go from one state to the other."""
    return new in MOVES[old]


def slug(kind: str) -> str:
    """The kind where dots mean something: routing keys, queue names, module names."""
    return kind.replace(".", "_")

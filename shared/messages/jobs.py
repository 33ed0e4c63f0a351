"""What is told about jobs, on `pointmill.events`, and how another service asks for one."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field

from shared.messages.envelope import Message


class JobError(Message):
    """Why a job or an attempt failed."""

    TYPE: ClassVar[str] = "part"

    code: str
    title: str | None = None
    detail: str | None = None
    remedy: str | None = None


class JobFacts(Message):
    """What every event of a job says."""

    TYPE: ClassVar[str] = "part"

    job_id: UUID
    workspace_id: UUID
    cloud_id: UUID | None = None
    kind: str
    state: str
    attempt: int
    requested_by: str


class JobQueuedV1(JobFacts):
    """The job was accepted."""

    TYPE: ClassVar[str] = "pointmill.job.queued.v1"


class JobStartedV1(JobFacts):
    """An attempt has begun."""

    TYPE: ClassVar[str] = "pointmill.job.started.v1"


class JobRetryScheduledV1(JobFacts):
    """An attempt did not succeed; the next one begins at `available_at` or later."""

    TYPE: ClassVar[str] = "pointmill.job.retry_scheduled.v1"

    available_at: datetime
    error: JobError | None = None


class JobCancelRequestedV1(JobFacts):
    """Somebody asked to cancel the running job."""

    TYPE: ClassVar[str] = "pointmill.job.cancel_requested.v1"


class JobSucceededV1(JobFacts):
    """The job has ended well."""

    TYPE: ClassVar[str] = "pointmill.job.succeeded.v1"

    result: dict[str, Any] = Field(default_factory=dict)


class JobFailedV1(JobFacts):
    """The job has ended without success."""

    TYPE: ClassVar[str] = "pointmill.job.failed.v1"

    error: JobError


class JobCancelledV1(JobFacts):
    """The job was cancelled."""

    TYPE: ClassVar[str] = "pointmill.job.cancelled.v1"


class JobProgressV1(Message):
    """How far a running attempt is; transient, at most two a second and job."""

    TYPE: ClassVar[str] = "pointmill.job.progress.v1"

    job_id: UUID
    workspace_id: UUID
    attempt: int
    stage: str
    fraction: float = Field(ge=0, le=1)
    message: str = ""
    eta_seconds: float | None = Field(
        default=None, ge=0, description="About how long it will go on."
    )


class JobRequestedV1(Message):
    """Another service asks for a job: published on `pointmill.requests` as `request.<kind>`."""

    TYPE: ClassVar[str] = "pointmill.job.requested.v1"

    kind: str = Field(max_length=100)
    params: dict[str, Any] = Field(default_factory=dict)
    cloud_id: UUID | None = None
    priority: int = Field(default=0, ge=-100, le=100)


class JobAcceptedV1(Message):
    """The answer to a request: this is its job. A repeated request gets the same answer."""

    TYPE: ClassVar[str] = "pointmill.job.accepted.v1"

    request_id: str
    sender: str
    job_id: UUID
    workspace_id: UUID
    kind: str


class FieldError(Message):
    """One thing that is wrong with a request."""

    TYPE: ClassVar[str] = "part"

    field: str
    message: str


class JobRejectedV1(Message):
    """The answer to a request that makes no job, and why."""

    TYPE: ClassVar[str] = "pointmill.job.rejected.v1"

    request_id: str
    sender: str
    kind: str | None = None
    code: str
    errors: list[FieldError]


MESSAGES: tuple[type[Message], ...] = (
    JobQueuedV1,
    JobStartedV1,
    JobRetryScheduledV1,
    JobCancelRequestedV1,
    JobSucceededV1,
    JobFailedV1,
    JobCancelledV1,
    JobProgressV1,
    JobRequestedV1,
    JobAcceptedV1,
    JobRejectedV1,
)

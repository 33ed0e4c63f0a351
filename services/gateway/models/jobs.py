"""Jobs as they are shown."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from services.gateway.models.shown import Page, Shown
from shared.db import Row
from shared.jobs import JobState


class Progress(BaseModel):
    """How far a running job is."""

    stage: str = ""
    fraction: Annotated[float, Field(description="Of the whole, 0 to 1.")] = 0.0
    message: str = ""
    eta_seconds: Annotated[
        float | None, Field(description="About how many seconds are left; null if nobody knows.")
    ] = None


class JobError(BaseModel):
    """Why a job or its latest attempt failed. Programs decide by `code`."""

    code: str
    title: str = ""
    detail: str = ""
    remedy: str = ""


InputName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$"), Field(examples=["left"])
]


class JobInput(BaseModel):
    """A product of another job."""

    job: UUID
    product: str


class Job(Shown):
    """A piece of background work."""

    id: UUID
    kind: str
    state: JobState
    attempt: Annotated[int, Field(description="Counts the times a worker has taken it up.")]
    params: dict[str, Any]
    cloud: Annotated[UUID | None, Field(validation_alias="cloud_id")] = None
    priority: int
    progress: Progress | None = None
    error: JobError | None = None
    result: dict[str, Any] | None = None
    retry_of: UUID | None = None
    schedule: Annotated[
        UUID | None, Field(validation_alias="schedule_id", description="What ordered it.")
    ] = None
    unique_key: Annotated[
        str | None, Field(description="No other job with this key until this one has ended.")
    ] = None
    after: Annotated[
        list[UUID] | None,
        Field(
            description="The jobs it waits or has waited for. Null: not told here, read the job."
        ),
    ] = []
    waiting_for: Annotated[
        list[UUID] | None, Field(description="Those of `after` that have not ended yet.")
    ] = []
    inputs: Annotated[dict[str, JobInput], Field(description="Products of theirs it takes.")] = {}
    children: Annotated[
        list[UUID] | None, Field(description="Jobs that wait or have waited for it: at most 100.")
    ] = []
    created_at: datetime
    available_at: Annotated[datetime, Field(description="Not started before.")]
    start_by: Annotated[datetime, Field(description="It fails if it is still queued then.")]
    end_by: Annotated[
        datetime | None, Field(description="It fails if it has not ended then; null: no limit.")
    ] = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_requested_at: datetime | None = None

    @classmethod
    def of(cls, row: Row) -> Self:
        """Show a row of `jobs`; of what is left, time has passed since it was stored."""
        job = super().of(row)
        if job.state is JobState.CANCELLED:
            job.error = None  # that of an attempt before, which nobody is to do anything about
        if row["depth"] or row["has_children"]:
            # The row does not say which: see pipelines.py.
            job.after = job.waiting_for = job.children = None
        if job.progress and job.progress.eta_seconds is not None and "told_at" in row["progress"]:
            told = datetime.fromisoformat(row["progress"]["told_at"])
            age = (row.get("read_at", told) - told).total_seconds()
            job.progress.eta_seconds = round(max(job.progress.eta_seconds - age, 0.0), 1)
        return job


class JobBatch(Shown):
    """What became of the jobs that a filter means."""

    matched: Annotated[int, Field(description="Jobs that it could be done to.")]
    done: Annotated[int, Field(description="Jobs that it was done to now.")]
    left: Annotated[int, Field(description="Ask again while there are any.")]
    as_of: Annotated[datetime, Field(description="When it was looked.")]


class Jobs(Page[Job]):
    """A part of the list of jobs."""

"""What the API shows: one class per resource, filled from the rows that the statements give back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from shared.db import Row
from shared.jobs import JobState

T = TypeVar("T")


class Shown(BaseModel):
    """The base of everything shown: made from a row, whose further columns stay unseen."""

    model_config = ConfigDict(populate_by_name=True)

    @classmethod
    def of(cls, row: Row) -> Self:
        """Show a row."""
        return cls.model_validate(dict(row))


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: Annotated[
        str | None, Field(description="Pass it as `cursor` for what follows; null at the end.")
    ] = None


class Project(Shown):
    """A group of clouds that belong together."""

    id: UUID
    name: str
    description: str
    config: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


class Source(BaseModel):
    """The file a cloud was made from."""

    name: str
    bytes: int
    crc32c: Annotated[str, Field(description="Checksum of the bytes, eight hex digits.")]


class Cloud(Shown):
    """A point cloud: its file, what is known of it, and the job that mills it."""

    id: UUID
    project: Annotated[UUID | None, Field(validation_alias="project_id")] = None
    name: str
    description: str
    properties: dict[str, Any]
    state: Annotated[
        Literal["empty", "stored"], Field(description="`stored` once its file is complete.")
    ]
    source: Source | None = None
    job: Annotated[
        UUID | None, Field(validation_alias="job_id", description="The latest ingest job.")
    ] = None
    summary: Annotated[
        dict[str, Any] | None, Field(description="The result of the latest ingest that succeeded.")
    ] = None
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Row) -> Self:
        """Show a row of `cloud_details`."""
        cloud = super().of(row)
        if row["state"] == "stored":
            cloud.source = Source(
                name=row["source_name"], bytes=row["source_bytes"], crc32c=row["source_crc32c"]
            )
        return cloud


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
        if row["depth"] or row["has_children"]:
            # The row does not say which: see pipelines.py.
            job.after = job.waiting_for = job.children = None
        if job.progress and job.progress.eta_seconds is not None and "told_at" in row["progress"]:
            told = datetime.fromisoformat(row["progress"]["told_at"])
            age = (row.get("read_at", told) - told).total_seconds()
            job.progress.eta_seconds = round(max(job.progress.eta_seconds - age, 0.0), 1)
        return job


Overlap = Literal["skip", "queue", "cancel"]
Missed = Literal["once", "skip"]


class Schedule(Shown):
    """A job that is ordered by the clock."""

    id: UUID
    name: str
    kind: str
    params: dict[str, Any]
    cloud: Annotated[UUID | None, Field(validation_alias="cloud_id")] = None
    priority: int
    at: Annotated[datetime | None, Field(validation_alias="run_at")] = None
    cron: str | None = None
    timezone: str | None = None
    overlap: Overlap
    missed: Missed
    next_at: Annotated[
        datetime | None, Field(description="When it orders the next job; null: never.")
    ] = None
    waiting_since: Annotated[
        datetime | None, Field(description="Its time has come, the job before has not ended.")
    ] = None
    paused_at: datetime | None = None
    last_planned_at: Annotated[datetime | None, Field(description="The last time that came.")] = (
        None
    )
    last_at: Annotated[datetime | None, Field(description="When that was seen.")] = None
    last_outcome: Annotated[
        Literal["ordered", "skipped", "missed", "refused"] | None,
        Field(
            description="`skipped`: the job before had not ended; `missed`: nobody was there at the"
            " time; `refused`: no job could be made, see `last_error`."
        ),
    ] = None
    last_job: Annotated[
        UUID | None, Field(validation_alias="last_job_id", description="The last that it ordered.")
    ] = None
    last_error: JobError | None = None
    version: Annotated[int, Field(description="Counts changes by people, not runs.")]
    created_at: datetime
    updated_at: datetime


class Preview(BaseModel):
    """The next times of a schedule."""

    timezone: str
    times: Annotated[list[datetime], Field(description="As the clock shows them in the zone.")]


class JobBatch(Shown):
    """What became of the jobs that a filter means."""

    matched: Annotated[int, Field(description="Jobs that it could be done to.")]
    done: Annotated[int, Field(description="Jobs that it was done to now.")]
    left: Annotated[int, Field(description="Ask again while there are any.")]
    as_of: Annotated[datetime, Field(description="When it was looked.")]


class CloudUpload(BaseModel):
    """A cloud with its file, and the job that mills it."""

    cloud: Cloud
    job: Job


class Limits(BaseModel):
    """What a job of a kind may take, and how often an attempt may fail."""

    attempts: int
    backoff_seconds: float
    run_seconds: float
    start_seconds: Annotated[float, Field(description="How long a job may wait for a slot.")]
    total_seconds: Annotated[
        float | None, Field(description="From acceptance to the end; null: no limit.")
    ]
    retry_codes: Annotated[list[str], Field(description="Failures that are tried again.")]
    no_retry_codes: Annotated[list[str], Field(description="Failures that are never tried again.")]


class Needs(BaseModel):
    """What a kind needs of the slot it runs in."""

    cores: int
    memory_bytes: int


class JobKind(Shown):
    """A kind of job that the processors know."""

    kind: str
    title: str
    description: str
    params_schema: Annotated[dict[str, Any], Field(description="JSON Schema of `params`.")]
    result_schema: Annotated[dict[str, Any], Field(description="JSON Schema of `result`.")]
    pool: str
    needs_source: Annotated[bool, Field(description="Whether it works on a cloud's file.")]
    inputs: Annotated[
        list[str], Field(description="Names of inputs it takes; `*` stands for any name.")
    ]
    version: int
    limits: Limits
    needs: Annotated[Needs, Field(description="What a slot must offer.")]
    paused_at: Annotated[
        datetime | None, Field(description="Its jobs wait since then until it is resumed.")
    ] = None
    starts_per_minute: Annotated[
        int | None, Field(description="In the whole system; null: no limit.")
    ] = None

    @classmethod
    def of(cls, row: Row) -> Self:
        """Show a row of `kinds`."""
        columns = dict(row)
        return cls.model_validate({**columns, "limits": columns, "needs": columns})


class Product(Shown):
    """A file that a job has made."""

    name: str
    media_type: str
    bytes: int
    crc32c: str
    sha256: str
    job: Annotated[UUID, Field(validation_alias="job_id")]
    created_at: datetime
    href: Annotated[str, Field(description="Where to download it.")] = ""


class Webhook(Shown):
    """A receiver of signed deliveries (Standard Webhooks) about jobs that have ended."""

    id: UUID
    url: str
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    created_at: datetime


class NewWebhook(Webhook):
    """A webhook just made."""

    secret: Annotated[str, Field(description="Signs the deliveries. Shown only now.")]


class Instance(Shown):
    """A running process of a service, as it has last said of itself."""

    instance: Annotated[str, Field(description="Its name, as the logs say it.")]
    service: str
    version: str
    accepts: Annotated[
        list[str], Field(description="The message types and versions it understands.")
    ]
    kinds: Annotated[list[str], Field(description="The kinds of jobs it runs.")]
    started_at: datetime
    seen_at: Annotated[datetime, Field(description="A day without a word, and it is forgotten.")]


class Projects(Page[Project]):
    """A part of the list of projects."""


class Clouds(Page[Cloud]):
    """A part of the list of clouds."""


class Jobs(Page[Job]):
    """A part of the list of jobs."""


class Schedules(Page[Schedule]):
    """A part of the list of schedules."""


class Kinds(Page[JobKind]):
    """The list of kinds."""


class Instances(Page[Instance]):
    """The list of running processes."""


class Products(Page[Product]):
    """The list of products."""


class Webhooks(Page[Webhook]):
    """A part of the list of webhooks."""


def products_at(place: str, rows: Sequence[Row]) -> Products:
    """Products with the addresses they have below `place`."""
    items = [Product.of(row) for row in rows]
    for item in items:
        item.href = f"{place}/{item.name}"
    return Products(items=items)

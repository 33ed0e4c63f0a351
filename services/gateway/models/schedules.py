"""Schedules as they are shown."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.gateway.models.jobs import JobError
from services.gateway.models.shown import Page, Shown

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


class Schedules(Page[Schedule]):
    """A part of the list of schedules."""

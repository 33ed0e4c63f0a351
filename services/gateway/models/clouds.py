"""Clouds as they are shown."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from services.gateway.models.jobs import Job
from services.gateway.models.shown import Page, Shown
from shared.db import Row


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


class CloudUpload(BaseModel):
    """A cloud with its file, and the job that mills it."""

    cloud: Cloud
    job: Job


class Clouds(Page[Cloud]):
    """A part of the list of clouds."""

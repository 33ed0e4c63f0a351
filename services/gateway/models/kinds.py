"""Kinds of jobs as they are shown."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

from services.gateway.models.shown import Page, Shown
from shared.db import Row


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


class Kinds(Page[JobKind]):
    """The list of kinds."""

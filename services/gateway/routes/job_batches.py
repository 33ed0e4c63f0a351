"""Many jobs at once: those that a filter means are cancelled or tried again, a batch a request."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from services.gateway.api import Reply, Routes
from services.gateway.caller import Editor
from services.gateway.fields import WHOLE, Order
from services.gateway.models.jobs import JobBatch
from services.gateway.once import GatewayOnce
from services.gateway.problems import INVALID_REQUEST, Problem
from services.gateway.resources import Gateway
from services.gateway.routes.jobs import KindName, hint_cancel
from shared.db import Row

routes = Routes("jobs")
ErrorCode = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[a-z][a-z0-9_]*$"),
    Field(examples=["worker_lost"]),
]


class JobFilter(Order):
    """Which jobs are meant: those that fit everything that is named."""

    kind: KindName | None = None
    cloud: UUID | None = None
    project: Annotated[UUID | None, Field(description="Jobs on the clouds of a project.")] = None
    created_after: Annotated[AwareDatetime | None, Field(description="Made then or later.")] = None
    created_before: Annotated[AwareDatetime | None, Field(description="Made earlier.")] = None
    error_code: Annotated[
        ErrorCode | None, Field(description="Their latest failure has this code.")
    ] = None
    limit: Annotated[
        int, Field(ge=0, le=1000, description="How many at most now; 0 only counts."), WHOLE
    ] = 500

    def named(self) -> dict[str, Any]:
        """What is named, as the statements take it.

        Raises:
            Problem: nothing is; all jobs are meant seldom, and by naming a state.
        """
        named = self.model_dump(mode="json", exclude={"limit"}, exclude_none=True)
        if not named:
            raise Problem(
                INVALID_REQUEST, "Name at least one thing that the jobs have in common, or a state."
            )
        return named


class CancelFilter(JobFilter):
    """Which jobs to cancel."""

    state: Literal["waiting", "queued", "running"] | None = None


class RetryFilter(JobFilter):
    """Which jobs to try again."""

    state: Literal["failed", "cancelled"] | None = None


@routes.post("/v1/jobs/cancel", status=202)
async def cancel_jobs(gateway: Gateway, caller: Editor, body: CancelFilter) -> Reply[JobBatch]:
    """Cancel the jobs that a filter means, the oldest first.

    Those that wait are cancelled at once; the workers of those that run are asked to stop. At most
    `limit` a request: repeat it while any are `left`.
    """
    row = await gateway.database.row("cancel_jobs", caller.workspace, body.named(), body.limit)
    gateway.wake_relay()
    for job_id in row["asked"] if row else ():
        await hint_cancel(gateway, caller, job_id)
    return _told(row)


@routes.post("/v1/jobs/retry", status=202)
async def retry_jobs(gateway: GatewayOnce, caller: Editor, body: RetryFilter) -> Reply[JobBatch]:
    """Do the jobs that a filter means again, the oldest first.

    Only those that failed or were cancelled and were not retried yet, each as a new job. At most
    `limit` a request: repeat it while any are `left`, with the first answer's `as_of` as
    `created_before`, so that new jobs that fail are not meant too.
    """
    row = await gateway.database.row(
        "retry_jobs",
        caller.workspace,
        body.named(),
        body.limit,
        caller.principal,
        caller.trace,
    )
    gateway.wake_relay()
    return _told(row)


def _told(row: Row | None) -> Reply[JobBatch]:
    if row is None:
        raise RuntimeError("a function that returns a row returned none")
    batch = JobBatch.model_validate({**dict(row), "left": row["matched"] - row["done"]})
    return Reply(batch, headers={"Location": "/v1/jobs", "Retry-After": "1"})

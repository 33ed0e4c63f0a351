"""Jobs: ordered, watched, cancelled, tried again."""

from typing import Annotated, Literal
from uuid import UUID

import asyncpg
from pydantic import Field, StringConstraints

from services.gateway.api import Header, Query, Reply, Routes
from services.gateway.caller import Caller, Editor, Viewer
from services.gateway.fields import NO_CONTROL, WHOLE, Document
from services.gateway.models.jobs import Job, Jobs
from services.gateway.once import GatewayOnce
from services.gateway.orders import check_order
from services.gateway.paging import SortedByTime
from services.gateway.patience import Prefer, seconds_of, wait_for_end
from services.gateway.pipelines import Waiting, check_parents, show_job, show_jobs
from services.gateway.problems import (
    CLOUD_EMPTY,
    CLOUD_NOT_FOUND,
    INVALID_REQUEST,
    JOB_ENDED,
    JOB_NOT_FOUND,
    JOB_NOT_RETRYABLE,
    JOB_NOT_UNIQUE,
    PARENT_NOT_FOUND,
    PIPELINE_TOO_LONG,
    TOO_MANY_PARENTS,
    UNKNOWN_KIND,
    Problem,
)
from services.gateway.resources import Gateway
from shared import topology
from shared.bus import Outgoing
from shared.db import Row
from shared.jobs import ENDS, JobState
from shared.messages import wrap
from shared.messages.work import CancelAskedV1

routes = Routes("jobs")
KindName = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[a-z][a-z0-9._]*$"),
    Field(examples=["demo.print"]),
]


UniqueKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=NO_CONTROL),
    Field(examples=["nightly"]),
]


class NewJob(Waiting):
    """A job to be done."""

    kind: KindName
    params: Document = Field(default_factory=dict)
    cloud: Annotated[UUID | None, Field(description="The cloud whose file it works on.")] = None
    priority: Annotated[
        int, Field(ge=-100, le=100, description="Higher first, within the workspace."), WHOLE
    ] = 0
    unique_key: Annotated[
        UniqueKey | None, Field(description="Of the jobs with this key only one goes on at a time.")
    ] = None
    on_duplicate: Annotated[
        Literal["existing", "refuse"],
        Field(
            description="When one with the `unique_key` has not ended: it is the answer, or none is."
        ),
    ] = "existing"


class JobListing(SortedByTime):
    """Which jobs to list."""

    state: JobState | None = None
    kind: KindName | None = None
    cloud: UUID | None = None


LISTS = {"-created_at": "list_jobs", "created_at": "list_jobs_oldest_first"}


@routes.post(
    "/v1/jobs",
    status=202,
    problems=(
        UNKNOWN_KIND,
        CLOUD_NOT_FOUND,
        CLOUD_EMPTY,
        JOB_NOT_UNIQUE,
        PARENT_NOT_FOUND,
        TOO_MANY_PARENTS,
        PIPELINE_TOO_LONG,
    ),
)
async def create_job(gateway: GatewayOnce, caller: Editor, body: NewJob) -> Reply[Job]:
    """Order a job of any kind.

    With a `unique_key` an order gives the job of that key that has not ended.
    With `after` or `inputs` the job waits for others, in the state `waiting`.
    """
    await check_order(gateway, caller, body.kind, body.params, body.cloud, body.inputs)
    if body.waits:
        if body.unique_key is not None:
            message = "cannot be had together with after or inputs"
            raise Problem.of_field(INVALID_REQUEST, "unique_key", message)
        await check_parents(gateway, caller, body)
    order = (caller.workspace, body.kind, body.params, body.cloud, body.priority)
    asked = (*order, caller.principal, caller.trace)
    try:
        if body.waits:
            parents = (body.after, body.stored_inputs())
            row = await gateway.database.row("create_child_job", *asked, *parents)
        elif body.unique_key is not None:
            unique = (body.unique_key, body.on_duplicate == "refuse")
            row = await gateway.database.row("create_unique_job", *asked, *unique)
        else:
            row = await gateway.database.row("create_job", *asked)
    except asyncpg.ForeignKeyViolationError as error:
        raise Problem.of_field(CLOUD_NOT_FOUND, "cloud", "was deleted meanwhile") from error
    if row is None:
        raise RuntimeError("a function that returns a row returned none")
    if body.on_duplicate == "refuse" and not row.get("made", True):
        raise Problem.of_field(JOB_NOT_UNIQUE, "unique_key", f"is that of job {row['id']}")
    gateway.wake_relay()
    return await _accepted(gateway, caller, row)


async def _accepted(gateway: Gateway, caller: Caller, row: Row) -> Reply[Job]:
    return Reply(await show_job(gateway, caller, row), headers=_begun(row["id"]))


def _begun(job_id: UUID) -> dict[str, str]:
    """Where to see what becomes of it, and when to look."""
    return {"Location": f"/v1/jobs/{job_id}", "Retry-After": "1"}


@routes.get("/v1/jobs")
async def list_jobs(
    gateway: Gateway, caller: Viewer, query: Annotated[JobListing, Query()]
) -> Jobs:
    """List the jobs, newest first unless `sort` says otherwise."""
    after = query.after()
    async with gateway.database.transaction(caller.workspace) as transaction:
        found = await transaction.rows(
            query.choose(LISTS), *after, query.limit + 1, query.state, query.kind, query.cloud
        )
    rows, cursor = query.cut(found)
    return Jobs(items=await show_jobs(gateway, caller, rows), next=cursor)


@routes.get("/v1/jobs/{job_id}", problems=(JOB_NOT_FOUND,))
async def read_job(
    gateway: Gateway,
    caller: Viewer,
    job_id: UUID,
    prefer: Annotated[Prefer | None, Header("Prefer")] = None,
) -> Reply[Job]:
    """Read a job; with `Prefer: wait=N`, when it has ended."""
    row = await gateway.database.row("read_job", caller.workspace, job_id)
    if row is None:
        raise Problem(JOB_NOT_FOUND)
    headers = {}
    if seconds := seconds_of(prefer):
        headers["Preference-Applied"] = f"wait={seconds}"
        if row["state"] not in ENDS:
            row = await wait_for_end(gateway, caller, row, seconds)
    if row["state"] not in ENDS:
        headers["Retry-After"] = "1"
    return Reply(await show_job(gateway, caller, row), headers=headers)


@routes.post("/v1/jobs/{job_id}/cancel", status=202, problems=(JOB_NOT_FOUND, JOB_ENDED))
async def cancel_job(gateway: Gateway, caller: Editor, job_id: UUID) -> Reply[Job]:
    """Cancel a job.

    One that waits is cancelled at once; the worker of one that runs is asked to stop. Repeating it
    does no harm.
    """
    row = await gateway.database.row("cancel_job", caller.workspace, job_id)
    if row is None:
        raise Problem(JOB_NOT_FOUND)
    job = await show_job(gateway, caller, row)
    if job.state in {JobState.SUCCEEDED, JobState.FAILED}:
        raise Problem(JOB_ENDED, f"The job has {job.state} already.")
    gateway.wake_relay()
    if job.state is JobState.RUNNING:
        await hint_cancel(gateway, caller, job_id)
    return Reply(job, headers=_begun(job_id))


async def hint_cancel(gateway: Gateway, caller: Caller, job_id: UUID) -> None:
    """Tell the worker to look, only to be quicker: it learns of it by its next heartbeat anyway."""
    message = wrap(
        CancelAskedV1(job_id=job_id),
        service="gateway",
        subject=str(job_id),
        workspace=caller.workspace,
    )
    await gateway.bus.publisher.hint(Outgoing(topology.CONTROL, "", message, mandatory=False))


@routes.post("/v1/jobs/{job_id}/retry", status=202, problems=(JOB_NOT_FOUND, JOB_NOT_RETRYABLE))
async def retry_job(gateway: GatewayOnce, caller: Editor, job_id: UUID) -> Reply[Job]:
    """Do a job that failed or was cancelled again.

    It is a new job that names the old one in `retry_of`. One that waited for others waits for the
    newest retry of each that did not succeed.
    """
    row = await gateway.database.row(
        "retry_job", caller.workspace, job_id, caller.principal, caller.trace
    )
    if row is None:
        found = await gateway.database.row("read_job", caller.workspace, job_id)
        if found is None:
            raise Problem(JOB_NOT_FOUND)
        raise Problem(JOB_NOT_RETRYABLE, f"The job is {found['state']}.")
    gateway.wake_relay()
    return await _accepted(gateway, caller, row)

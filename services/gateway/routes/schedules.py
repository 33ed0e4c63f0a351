"""Schedules: jobs ordered by the clock, once or again and again. The processors do the ordering."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import asyncpg
from pydantic import Field

from services.gateway.api import Header, Query, Reply, Routes
from services.gateway.caller import Caller, Editor, Viewer
from services.gateway.fields import WHOLE, Document, Name, Version
from services.gateway.merging import absent, merged
from services.gateway.models.jobs import Job, Jobs
from services.gateway.models.schedules import Missed, Overlap, Preview, Schedule, Schedules
from services.gateway.once import GatewayOnce
from services.gateway.orders import check_order
from services.gateway.paging import Listing, Sorted
from services.gateway.problems import (
    CLOUD_EMPTY,
    CLOUD_NOT_FOUND,
    PRECONDITION_FAILED,
    SCHEDULE_NAME_TAKEN,
    SCHEDULE_NOT_FOUND,
    SCHEDULE_OVER,
    UNKNOWN_KIND,
    Problem,
)
from services.gateway.resources import Gateway
from services.gateway.routes.jobs import KindName
from services.gateway.timing import PROBLEMS, Times, Timing
from services.gateway.versions import etag, refuse_stale
from shared.db import Row, Transaction

routes = Routes("schedules")
PREVIEWED = 5
Priority = Annotated[int, Field(ge=-100, le=100, description="Of its jobs; higher first."), WHOLE]
WhenOverlapping = Annotated[
    Overlap,
    Field(
        description="When the job before has not ended: `skip` this time; `queue`: order the job when"
        " that has ended (times that pass meanwhile are one with it); `cancel` that job and order the"
        " new one as soon as it has stopped."
    ),
]
WhenMissed = Annotated[
    Missed,
    Field(
        description="When nobody was there within a minute of the time: order the job `once` as soon"
        " as somebody is, however many times have passed, or `skip` to the next."
    ),
]


class NewSchedule(Times):
    """A schedule to be made: a job, and when to order it."""

    name: Name
    kind: KindName
    params: Document = Field(default_factory=dict)
    cloud: Annotated[UUID | None, Field(description="The cloud whose file it works on.")] = None
    priority: Priority = 0
    overlap: WhenOverlapping = "skip"
    missed: WhenMissed = "once"


class ScheduleChange(Times):
    """What to change; what is absent stays, null takes away, `params` are merged (RFC 7396).

    One of `at` and `cron` takes the place of the other, so null there says nothing.
    """

    name: Name = absent()
    params: Document | None = absent()
    priority: Priority | None = absent()
    overlap: WhenOverlapping | None = absent()
    missed: WhenMissed | None = absent()


EMPTY = {"name": "", "params": {}, "priority": 0, "overlap": "skip", "missed": "once"}


class ScheduleListing(Sorted):
    """Which schedules to list."""

    kind: KindName | None = None


LISTS = {
    "-created_at": "list_schedules",
    "created_at": "list_schedules_oldest_first",
    "name": "list_schedules_by_name",
    "-name": "list_schedules_by_name_backwards",
}


def _reply(row: Row) -> Reply[Schedule]:
    schedule = Schedule.of(row)
    return Reply(schedule, headers=etag(schedule.version))


@routes.post(
    "/v1/schedules",
    status=201,
    problems=(UNKNOWN_KIND, CLOUD_NOT_FOUND, CLOUD_EMPTY, SCHEDULE_NAME_TAKEN, *PROBLEMS),
)
async def create_schedule(
    gateway: GatewayOnce, caller: Editor, body: NewSchedule
) -> Reply[Schedule]:
    """Have a job ordered at a time, or again and again by a cron line.

    The line is read in a time zone and means what it means to Debian's cron. When the clocks change,
    a line whose minute and hour are named runs once on that day: right after the gap if its time is
    left out, the first time if it comes twice. A line with `*` there goes by the time that passes.
    No two jobs of a schedule go on at the same time. Its name is unique within the workspace.
    """
    timing = Timing.asked(body)
    await check_order(gateway, caller, body.kind, body.params, body.cloud)
    try:
        async with gateway.database.transaction(caller.workspace) as transaction:
            row = await transaction.row(
                "create_schedule",
                caller.workspace,
                body.name,
                body.kind,
                body.params,
                body.cloud,
                body.priority,
                timing.at,
                timing.cron,
                timing.timezone,
                body.overlap,
                body.missed,
                timing.first(await transaction.value("read_time")),
            )
    except asyncpg.ForeignKeyViolationError as error:
        raise Problem.of_field(CLOUD_NOT_FOUND, "cloud", "was deleted meanwhile") from error
    if row is None:
        raise Problem.of_field(SCHEDULE_NAME_TAKEN, "name", "is another schedule's")
    reply = _reply(row)
    return Reply(reply.content, {**reply.headers, "Location": f"/v1/schedules/{row['id']}"})


@routes.get("/v1/schedules")
async def list_schedules(
    gateway: Gateway, caller: Viewer, query: Annotated[ScheduleListing, Query()]
) -> Schedules:
    """List the schedules, newest first unless `sort` says otherwise."""
    after = query.after()
    async with gateway.database.transaction(caller.workspace) as transaction:
        found = await transaction.rows(query.choose(LISTS), *after, query.limit + 1, query.kind)
    rows, cursor = query.cut(found)
    return Schedules(items=[Schedule.of(row) for row in rows], next=cursor)


@routes.post("/v1/schedules/preview", problems=PROBLEMS)
async def preview_times(gateway: Gateway, _caller: Viewer, body: Times) -> Preview:
    """Say when the next five jobs of such a schedule would be ordered; nothing is made."""
    timing = Timing.asked(body)
    now = await gateway.database.value("read_time")
    timing.first(now)
    return _preview(timing, timing.coming(now, PREVIEWED))


def _preview(timing: Timing, times: list[datetime]) -> Preview:
    return Preview(timezone=timing.timezone or "UTC", times=timing.local(times))


@routes.get("/v1/schedules/{schedule_id}", problems=(SCHEDULE_NOT_FOUND,))
async def read_schedule(gateway: Gateway, caller: Viewer, schedule_id: UUID) -> Reply[Schedule]:
    """Read a schedule."""
    return _reply(await _read(gateway, caller, schedule_id))


@routes.get("/v1/schedules/{schedule_id}/preview", problems=(SCHEDULE_NOT_FOUND, *PROBLEMS))
async def preview_schedule(gateway: Gateway, caller: Viewer, schedule_id: UUID) -> Preview:
    """Say when the next five jobs are ordered, or would be if the schedule were not paused."""
    row = await _read(gateway, caller, schedule_id)
    timing = Timing.of(row)
    return _preview(timing, timing.coming(row["now"], PREVIEWED))


async def _read(gateway: Gateway, caller: Caller, schedule_id: UUID) -> Row:
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await transaction.row("read_schedule", schedule_id)
    if row is None:
        raise Problem(SCHEDULE_NOT_FOUND)
    return row


@routes.get("/v1/schedules/{schedule_id}/jobs", problems=(SCHEDULE_NOT_FOUND,))
async def list_schedule_jobs(
    gateway: Gateway, caller: Viewer, schedule_id: UUID, query: Annotated[Listing, Query()]
) -> Jobs:
    """List the jobs that a schedule has ordered, newest first."""
    after = query.after()
    await _read(gateway, caller, schedule_id)
    async with gateway.database.transaction(caller.workspace) as transaction:
        found = await transaction.rows(
            "list_schedule_jobs", caller.workspace, schedule_id, *after, query.limit + 1
        )
    rows, cursor = query.cut(found)
    return Jobs(items=[Job.of(row) for row in rows], next=cursor)


@routes.patch(
    "/v1/schedules/{schedule_id}",
    problems=(
        SCHEDULE_NOT_FOUND,
        SCHEDULE_NAME_TAKEN,
        PRECONDITION_FAILED,
        UNKNOWN_KIND,
        CLOUD_NOT_FOUND,
        CLOUD_EMPTY,
        *PROBLEMS,
    ),
)
async def change_schedule(
    gateway: Gateway,
    caller: Editor,
    schedule_id: UUID,
    body: ScheduleChange,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> Reply[Schedule]:
    """Change a schedule.

    `at` takes the place of a cron line, and the other way round. With `If-Match`, only if nobody has
    changed it since; what it does by itself is no change.
    """
    checked = None
    if "params" in body.model_fields_set:
        # The kind and the cloud of a schedule never change.
        known = await _read(gateway, caller, schedule_id)
        checked = merged(known, body, EMPTY)["params"]
        await check_order(gateway, caller, known["kind"], checked, known["cloud_id"])
    try:
        async with gateway.database.transaction(caller.workspace) as transaction:
            row = await _lock(transaction, schedule_id, if_match)
            timing = Timing.of(row).changed(body)
            next_at = row["next_at"]
            if timing != Timing.of(row):
                first = timing.first(row["now"])
                next_at = first if row["paused_at"] is None else None
            columns = merged(row, body, EMPTY)
            if checked is not None and columns["params"] != checked:
                raise Problem(PRECONDITION_FAILED, "Its params were changed just now.")
            changed = await transaction.row(
                "change_schedule",
                schedule_id,
                *columns.values(),
                timing.at,
                timing.cron,
                timing.timezone,
                next_at,
            )
    except asyncpg.UniqueViolationError as error:
        raise Problem.of_field(SCHEDULE_NAME_TAKEN, "name", "is another schedule's") from error
    return _reply(changed or row)


async def _lock(transaction: Transaction, schedule_id: UUID, if_match: str | None) -> Row:
    row = await transaction.row("lock_schedule", schedule_id)
    if row is None:
        raise Problem(SCHEDULE_NOT_FOUND)
    refuse_stale(row["version"], if_match)
    return row


@routes.post(
    "/v1/schedules/{schedule_id}/pause", problems=(SCHEDULE_NOT_FOUND, PRECONDITION_FAILED)
)
async def pause_schedule(
    gateway: Gateway,
    caller: Editor,
    schedule_id: UUID,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> Reply[Schedule]:
    """Pause a schedule: no jobs are ordered until it is resumed; the one that goes on does.

    Repeating it does no harm.
    """
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await _lock(transaction, schedule_id, if_match)
        if row["paused_at"] is None:
            row = await transaction.row("pause_schedule", schedule_id) or row
    return _reply(row)


@routes.post(
    "/v1/schedules/{schedule_id}/resume",
    problems=(SCHEDULE_NOT_FOUND, SCHEDULE_OVER, PRECONDITION_FAILED, *PROBLEMS),
)
async def resume_schedule(
    gateway: Gateway,
    caller: Editor,
    schedule_id: UUID,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> Reply[Schedule]:
    """Resume a schedule; times that passed while it was paused are not made up for.

    Repeating it does no harm.
    """
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await _lock(transaction, schedule_id, if_match)
        if row["paused_at"] is not None:
            times = Timing.of(row).coming(row["now"], 1)
            if not times:
                raise Problem(SCHEDULE_OVER)
            row = await transaction.row("resume_schedule", schedule_id, times[0]) or row
    return _reply(row)


@routes.delete("/v1/schedules/{schedule_id}", problems=(SCHEDULE_NOT_FOUND, PRECONDITION_FAILED))
async def delete_schedule(
    gateway: Gateway,
    caller: Editor,
    schedule_id: UUID,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> None:
    """Delete a schedule. The jobs it has ordered stay."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        if if_match is not None:
            await _lock(transaction, schedule_id, if_match)
        row = await transaction.row("delete_schedule", schedule_id)
    if row is None:
        raise Problem(SCHEDULE_NOT_FOUND)

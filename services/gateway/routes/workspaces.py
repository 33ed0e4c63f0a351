"""Workspaces: how the slots are shared between them. For operators."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import structlog
from pydantic import Field

from services.gateway.api import Header, Query, Reply, Routes
from services.gateway.caller import Operator
from services.gateway.fields import WHOLE, Order, Version
from services.gateway.merging import absent
from services.gateway.models.shown import Page, Shown
from services.gateway.paging import Listing
from services.gateway.problems import PRECONDITION_FAILED, WORKSPACE_NOT_FOUND, Problem
from services.gateway.resources import Gateway
from services.gateway.versions import etag, refuse_stale
from shared.db import Row

routes = Routes("workspaces")
logger = structlog.get_logger("gateway")


class Workspace(Shown):
    """A tenant, as far as its share of the slots goes."""

    id: UUID
    name: str
    weight: Annotated[int, Field(description="Its share of the slots, against the others'.")]
    max_running: Annotated[
        int | None, Field(description="At most so many of its jobs run; null: no cap.")
    ]
    running: Annotated[int, Field(description="How many of its jobs run now.")]
    created_at: datetime


class Workspaces(Page[Workspace]):
    """A part of the list of workspaces."""


class WorkspaceChange(Order):
    """What operators set of a workspace; what is left out stays."""

    weight: Annotated[int, Field(ge=1, le=1000), WHOLE] = absent()
    max_running: Annotated[
        int | None, Field(ge=0, le=1_000_000, description="Null takes the cap away."), WHOLE
    ] = absent()


@routes.get("/v1/workspaces")
async def list_workspaces(
    gateway: Gateway,
    operator: Operator,  # noqa: ARG001 - asked for a right
    query: Annotated[Listing, Query()],
) -> Workspaces:
    """List the workspaces, newest first."""
    found = await gateway.database.rows("list_workspaces", *query.after(), query.limit + 1)
    rows, cursor = query.cut(found)
    return Workspaces(items=[Workspace.of(row) for row in rows], next=cursor)


@routes.get("/v1/workspaces/{workspace_id}", problems=(WORKSPACE_NOT_FOUND,))
async def read_workspace(
    gateway: Gateway,
    operator: Operator,  # noqa: ARG001 - asked for a right
    workspace_id: UUID,
) -> Reply[Workspace]:
    """Read a workspace."""
    row = await gateway.database.row("read_workspace", workspace_id, False)
    if row is None:
        raise Problem(WORKSPACE_NOT_FOUND)
    return Reply(Workspace.of(row), headers=etag(_state(row)))


def _state(row: Row) -> str:
    """What operators set of it."""
    return f"{row['weight']}.{'' if row['max_running'] is None else row['max_running']}"


@routes.patch("/v1/workspaces/{workspace_id}", problems=(WORKSPACE_NOT_FOUND, PRECONDITION_FAILED))
async def change_workspace(
    gateway: Gateway,
    operator: Operator,
    workspace_id: UUID,
    body: WorkspaceChange,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> Reply[Workspace]:
    """Set the weight or the cap of a workspace; jobs that run go on."""
    caps = "max_running" in body.model_fields_set
    change = (workspace_id, body.weight, caps, body.max_running)
    async with gateway.database.transaction() as transaction:
        if if_match is not None:
            known = await transaction.row("read_workspace", workspace_id, True)
            if known is not None:
                refuse_stale(_state(known), if_match)
        row = await transaction.row("change_workspace", *change)
    if row is None:
        raise Problem(WORKSPACE_NOT_FOUND)
    logger.info(
        "workspace_changed",
        workspace=str(workspace_id),
        by=operator.principal,
        **body.model_dump(exclude_unset=True),
    )
    return Reply(Workspace.of(row), headers=etag(_state(row)))

"""Projects: groups of clouds that belong together."""

from typing import Annotated
from uuid import UUID

import asyncpg
from pydantic import Field

from services.gateway.api import Header, Query, Reply, Routes
from services.gateway.caller import Editor, Viewer
from services.gateway.fields import Contained, Document, Name, Order, Text, Version
from services.gateway.merging import absent, merged
from services.gateway.models.projects import Project, Projects
from services.gateway.once import GatewayOnce
from services.gateway.paging import Sorted
from services.gateway.problems import (
    PRECONDITION_FAILED,
    PROJECT_NAME_TAKEN,
    PROJECT_NOT_EMPTY,
    PROJECT_NOT_FOUND,
    Problem,
)
from services.gateway.resources import Gateway
from services.gateway.versions import etag, refuse_stale
from shared.db import Row, Transaction

routes = Routes("projects")


class NewProject(Order):
    """A project to be made."""

    name: Name
    description: Text = ""
    config: Document = Field(default_factory=dict)


class ProjectChange(Order):
    """What to change; what is absent stays, null takes away, `config` is merged (RFC 7396)."""

    name: Name = absent()
    description: Text | None = absent()
    config: Document | None = absent()


EMPTY = {"name": "", "description": "", "config": {}}


class ProjectListing(Sorted):
    """Which projects to list."""

    name: Annotated[Name | None, Field(description="The project of this name.")] = None
    config: Annotated[Contained | None, Field(description="JSON that their `config` contains.")] = (
        None
    )


LISTS = {
    "-created_at": "list_projects",
    "created_at": "list_projects_oldest_first",
    "name": "list_projects_by_name",
    "-name": "list_projects_by_name_backwards",
}


@routes.post("/v1/projects", status=201, problems=(PROJECT_NAME_TAKEN,))
async def create_project(gateway: GatewayOnce, caller: Editor, body: NewProject) -> Reply[Project]:
    """Create a project. Its name is unique within the workspace."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await transaction.row(
            "create_project", caller.workspace, body.name, body.description, body.config
        )
    if row is None:
        raise Problem.of_field(PROJECT_NAME_TAKEN, "name", "is another project's")
    project = Project.of(row)
    location = {"Location": f"/v1/projects/{project.id}"}
    return Reply(project, headers={**etag(project.version), **location})


@routes.get("/v1/projects")
async def list_projects(
    gateway: Gateway, caller: Viewer, query: Annotated[ProjectListing, Query()]
) -> Projects:
    """List the projects, newest first unless `sort` says otherwise."""
    after = query.after()
    async with gateway.database.transaction(caller.workspace) as transaction:
        found = await transaction.rows(
            query.choose(LISTS), *after, query.limit + 1, query.name, query.config
        )
    rows, cursor = query.cut(found)
    return Projects(items=[Project.of(row) for row in rows], next=cursor)


@routes.get("/v1/projects/{project_id}", problems=(PROJECT_NOT_FOUND,))
async def read_project(gateway: Gateway, caller: Viewer, project_id: UUID) -> Reply[Project]:
    """Read a project."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await transaction.row("read_project", project_id)
    if row is None:
        raise Problem(PROJECT_NOT_FOUND)
    project = Project.of(row)
    return Reply(project, headers=etag(project.version))


@routes.patch(
    "/v1/projects/{project_id}",
    problems=(PROJECT_NOT_FOUND, PROJECT_NAME_TAKEN, PRECONDITION_FAILED),
)
async def change_project(
    gateway: Gateway,
    caller: Editor,
    project_id: UUID,
    body: ProjectChange,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> Reply[Project]:
    """Change a project.

    With `If-Match`, only if nobody has changed it since.
    """
    try:
        async with gateway.database.transaction(caller.workspace) as transaction:
            row = await _lock(transaction, project_id, if_match)
            columns = merged(row, body, EMPTY)
            changed = await transaction.row("change_project", project_id, *columns.values())
    except asyncpg.UniqueViolationError as error:
        raise Problem.of_field(PROJECT_NAME_TAKEN, "name", "is another project's") from error
    project = Project.of(changed or row)
    return Reply(project, headers=etag(project.version))


async def _lock(transaction: Transaction, project_id: UUID, if_match: str | None) -> Row:
    row = await transaction.row("lock_project", project_id)
    if row is None:
        raise Problem(PROJECT_NOT_FOUND)
    refuse_stale(row["version"], if_match)
    return row


@routes.delete(
    "/v1/projects/{project_id}",
    problems=(PROJECT_NOT_FOUND, PROJECT_NOT_EMPTY, PRECONDITION_FAILED),
)
async def delete_project(
    gateway: Gateway,
    caller: Editor,
    project_id: UUID,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> None:
    """Delete a project that holds no clouds."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        if if_match is not None:
            await _lock(transaction, project_id, if_match)
        row = await transaction.row("delete_project", project_id)
    if row is None or not row["found"]:
        raise Problem(PROJECT_NOT_FOUND)
    if not row["deleted"]:
        raise Problem(PROJECT_NOT_EMPTY)

"""Clouds: a name, properties, a file, and what became of it."""

from typing import Annotated, Literal
from uuid import UUID

import asyncpg
from pydantic import Field

from services.gateway.api import Header, Query, Reply, Routes
from services.gateway.bodies import Upload
from services.gateway.caller import Caller, Editor, Viewer
from services.gateway.fields import (
    Contained,
    Crc32c,
    Document,
    FileName,
    Name,
    Order,
    Text,
    Version,
)
from services.gateway.merging import absent, merged
from services.gateway.models.clouds import Cloud, Clouds, CloudUpload
from services.gateway.models.jobs import Job
from services.gateway.once import GatewayOnce
from services.gateway.paging import Sorted
from services.gateway.problems import (
    CHECKSUM_MISMATCH,
    CLOUD_NOT_FOUND,
    EMPTY_FILE,
    INVALID_REQUEST,
    PRECONDITION_FAILED,
    PROJECT_NOT_FOUND,
    STORAGE_UNAVAILABLE,
    UNSUPPORTED_EXTENSION,
    Problem,
)
from services.gateway.resources import Gateway
from services.gateway.uploads import (
    Incoming,
    check_name,
    check_not_empty,
    source_of,
    store_file,
    taken_back_if_refused,
)
from services.gateway.versions import etag, refuse_stale
from shared.db import Row, Transaction
from shared.objects import ObjectInfo

routes = Routes("clouds")


class NewCloud(Order):
    """A cloud to be made without a file."""

    name: Name
    description: Text = ""
    properties: Document = Field(default_factory=dict)
    project: UUID | None = None


class CloudChange(Order):
    """What to change; what is absent stays, null takes away, `properties` are merged (RFC 7396)."""

    name: Name = absent()
    description: Text | None = absent()
    properties: Document | None = absent()
    project: Annotated[
        UUID | None, Field(description="Null takes the cloud out of its project.")
    ] = absent()


EMPTY = {"name": "", "description": "", "properties": {}}


class FileQuery(Order):
    """What is said of a file that is the body."""

    name: Annotated[FileName | None, Field(description="The file's name, .las or .laz.")] = None
    project: Annotated[UUID | None, Field(description="The project it belongs to.")] = None
    project_name: Annotated[
        Name | None, Field(description="Or the project's name; made if there is none.")
    ] = None
    crc32c: Annotated[
        Crc32c | None, Field(description="What the bytes must add up to, eight hex digits.")
    ] = None


class CloudListing(Sorted):
    """Which clouds to list."""

    project: UUID | None = None
    state: Literal["empty", "stored"] | None = None
    name: Annotated[Name | None, Field(description="Those of this name.")] = None
    properties: Annotated[
        Contained | None, Field(description="JSON that their `properties` contain.")
    ] = None


LISTS = {
    "-created_at": "list_clouds",
    "created_at": "list_clouds_oldest_first",
    "name": "list_clouds_by_name",
    "-name": "list_clouds_by_name_backwards",
}


FILE_PROBLEMS = (
    PROJECT_NOT_FOUND,
    UNSUPPORTED_EXTENSION,
    EMPTY_FILE,
    CHECKSUM_MISMATCH,
    STORAGE_UNAVAILABLE,
)


@routes.post("/v1/clouds", status=201, problems=FILE_PROBLEMS)
async def create_cloud(
    gateway: GatewayOnce,
    caller: Editor,
    query: Annotated[FileQuery, Query()],
    body: NewCloud | Upload,
) -> Reply[Cloud | CloudUpload]:
    """Create a cloud, empty or with its file.

    A JSON body makes an empty cloud (upload its file later). Any other body is the file itself. It
    is milled at once; the answer holds the cloud and the job.
    """
    if isinstance(body, NewCloud):
        if query.model_fields_set:
            name = min(query.model_fields_set)
            raise Problem.of_field(INVALID_REQUEST, name, "goes with a file; say it in the body")
        cloud = await _create_empty(gateway, caller, body)
        headers = {"Location": f"/v1/clouds/{cloud.id}", **etag(cloud.version)}
        return Reply(cloud, headers=headers)
    made = await _create_with_file(gateway, caller, query, body)
    return Reply(made, headers={"Location": f"/v1/clouds/{made.cloud.id}"})


@routes.put("/v1/clouds", status=201, problems=FILE_PROBLEMS)
async def upload_cloud(
    gateway: GatewayOnce, caller: Editor, query: Annotated[FileQuery, Query()], body: Upload
) -> Reply[CloudUpload]:
    """Create a cloud with its file, as curl -T sends it.

    `curl -T town.laz '…/v1/clouds?name=town.laz'`: the same as a POST of the file. Each call makes
    a new cloud.
    """
    made = await _create_with_file(gateway, caller, query, body)
    return Reply(made, headers={"Location": f"/v1/clouds/{made.cloud.id}"})


async def _create_empty(gateway: Gateway, caller: Caller, body: NewCloud) -> Cloud:
    async with gateway.database.transaction(caller.workspace) as transaction:
        if body.project is not None:
            await _check_project(transaction, body.project)
        identifier = await transaction.value("new_id")
        await transaction.value(
            "create_cloud",
            identifier,
            caller.workspace,
            body.project,
            body.name,
            body.description,
            body.properties,
        )
        row = await transaction.row("read_cloud", caller.workspace, identifier)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    return Cloud.of(row)


async def _create_with_file(
    gateway: Gateway, caller: Caller, query: FileQuery, body: Upload
) -> CloudUpload:
    name = check_name(query.name)
    check_not_empty(body)
    async with gateway.database.transaction(caller.workspace) as transaction:
        if query.project is not None:
            await _check_project(transaction, query.project)
        identifier: UUID = await transaction.value("new_id")
    incoming = Incoming(identifier, name, body, query.crc32c)
    stored = await store_file(gateway, caller, incoming)
    async with taken_back_if_refused(gateway, stored.key):
        made = await _commit(gateway, caller, query, incoming, stored)
    gateway.wake_relay()
    await gateway.failpoints.reach("gateway.upload.committed")
    return made


async def _commit(
    gateway: Gateway, caller: Caller, query: FileQuery, incoming: Incoming, stored: ObjectInfo
) -> CloudUpload:
    workspace, identifier = caller.workspace, incoming.cloud
    try:
        async with gateway.database.transaction(caller.workspace) as transaction:
            project = query.project
            if query.project_name is not None:
                project = await _project_of_name(transaction, workspace, query.project_name)
            await transaction.value(
                "create_cloud", identifier, workspace, project, incoming.name, "", {}
            )
            job = await transaction.row("finish_upload", *source_of(caller, incoming, stored))
            cloud = await transaction.row("read_cloud", workspace, identifier)
    except asyncpg.ForeignKeyViolationError as error:
        raise Problem.of_field(PROJECT_NOT_FOUND, "project", "was deleted meanwhile") from error
    if job is None or cloud is None:
        raise Problem(CLOUD_NOT_FOUND)
    return CloudUpload(cloud=Cloud.of(cloud), job=Job.of(job))


async def _check_project(transaction: Transaction, project: UUID) -> None:
    if await transaction.row("read_project", project) is None:
        raise Problem.of_field(PROJECT_NOT_FOUND, "project", "is not a project of yours")


async def _project_of_name(transaction: Transaction, workspace: UUID, name: str) -> UUID:
    row = await transaction.row("create_project", workspace, name, "", {})
    # Not made: it was there, or another has just committed it; the next statement sees it.
    found = row or await transaction.row("find_project", name)
    if found is None:
        raise Problem.of_field(PROJECT_NOT_FOUND, "project_name", "was renamed just now")
    identifier: UUID = found["id"]
    return identifier


@routes.get("/v1/clouds")
async def list_clouds(
    gateway: Gateway, caller: Viewer, query: Annotated[CloudListing, Query()]
) -> Clouds:
    """List the clouds, newest first unless `sort` says otherwise."""
    after = query.after()
    async with gateway.database.transaction(caller.workspace) as transaction:
        found = await transaction.rows(
            query.choose(LISTS),
            *after,
            query.limit + 1,
            query.project,
            query.state,
            query.name,
            query.properties,
        )
    rows, cursor = query.cut(found)
    return Clouds(items=[Cloud.of(row) for row in rows], next=cursor)


@routes.get("/v1/clouds/{cloud_id}", problems=(CLOUD_NOT_FOUND,))
async def read_cloud(gateway: Gateway, caller: Viewer, cloud_id: UUID) -> Reply[Cloud]:
    """Read a cloud, with its latest job and what was found in its file."""
    row = await gateway.database.row("read_cloud", caller.workspace, cloud_id)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    return Reply(Cloud.of(row), headers=etag(row["version"]))


@routes.patch(
    "/v1/clouds/{cloud_id}", problems=(CLOUD_NOT_FOUND, PROJECT_NOT_FOUND, PRECONDITION_FAILED)
)
async def change_cloud(
    gateway: Gateway,
    caller: Editor,
    cloud_id: UUID,
    body: CloudChange,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> Reply[Cloud]:
    """Change what is said about a cloud.

    Its file never changes. With `If-Match`, only if nobody has changed it since.
    """
    async with gateway.database.transaction(caller.workspace) as transaction:
        if body.project is not None:
            await _check_project(transaction, body.project)
        locked = await _lock(transaction, cloud_id, if_match)
        columns = merged(locked, body, EMPTY)
        moved = "project" in body.model_fields_set
        project = body.project if moved else locked["project_id"]
        await transaction.value("change_cloud", cloud_id, *columns.values(), project)
        row = await transaction.row("read_cloud", caller.workspace, cloud_id)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    return Reply(Cloud.of(row), headers=etag(row["version"]))


async def _lock(transaction: Transaction, cloud_id: UUID, if_match: str | None) -> Row:
    row = await transaction.row("lock_cloud", cloud_id)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    refuse_stale(row["version"], if_match)
    return row


@routes.delete("/v1/clouds/{cloud_id}", problems=(CLOUD_NOT_FOUND, PRECONDITION_FAILED))
async def delete_cloud(
    gateway: Gateway,
    caller: Editor,
    cloud_id: UUID,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> None:
    """Delete a cloud and its products; jobs that work on it are cancelled."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        if if_match is not None:
            await _lock(transaction, cloud_id, if_match)
        if not await transaction.value("delete_cloud", caller.workspace, cloud_id):
            raise Problem(CLOUD_NOT_FOUND)
    gateway.wake_relay()

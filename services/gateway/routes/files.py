"""The file of a cloud: uploaded once, never changed."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.gateway.api import Query, Reply, Routes
from services.gateway.bodies import Upload
from services.gateway.caller import Caller, Editor
from services.gateway.fields import Crc32c, FileName, Order
from services.gateway.models.clouds import Cloud, CloudUpload
from services.gateway.models.jobs import Job
from services.gateway.problems import (
    CHECKSUM_MISMATCH,
    CLOUD_ALREADY_STORED,
    CLOUD_NOT_FOUND,
    EMPTY_FILE,
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
from shared.db import Row

routes = Routes("clouds")


class UploadQuery(Order):
    """What is said of the file."""

    name: Annotated[
        FileName | None, Field(description="The file's name; the cloud's if it ends likewise.")
    ] = None
    crc32c: Annotated[
        Crc32c | None, Field(description="What the bytes must add up to, eight hex digits.")
    ] = None


@routes.put(
    "/v1/clouds/{cloud_id}/file",
    status=201,
    problems=(
        CLOUD_NOT_FOUND,
        CLOUD_ALREADY_STORED,
        UNSUPPORTED_EXTENSION,
        EMPTY_FILE,
        CHECKSUM_MISMATCH,
        STORAGE_UNAVAILABLE,
    ),
)
async def upload_file(
    gateway: Gateway,
    caller: Editor,
    cloud_id: UUID,
    query: Annotated[UploadQuery, Query()],
    body: Upload,
) -> Reply[CloudUpload]:
    """Upload the file of an empty cloud.

    `curl -T town.laz '…/v1/clouds/{id}/file?name=town.laz'`. It is milled at once; the answer
    holds the cloud and the job. When the upload is cut, send it again.
    """
    cloud = await _empty_cloud(gateway, caller, cloud_id)
    name = check_name(query.name or cloud["name"])
    check_not_empty(body)
    incoming = Incoming(cloud_id, name, body, query.crc32c)
    stored = await store_file(gateway, caller, incoming)
    async with taken_back_if_refused(gateway, stored.key):
        job = await gateway.database.row("finish_upload", *source_of(caller, incoming, stored))
        if job is None:
            # Another upload was faster, or the cloud was deleted: the look says which.
            await _empty_cloud(gateway, caller, cloud_id)
            raise Problem(CLOUD_NOT_FOUND)
    gateway.wake_relay()
    await gateway.failpoints.reach("gateway.upload.committed")
    row = await gateway.database.row("read_cloud", caller.workspace, cloud_id)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    made = CloudUpload(cloud=Cloud.of(row), job=Job.of(job))
    return Reply(made, headers={"Location": f"/v1/clouds/{cloud_id}"})


async def _empty_cloud(gateway: Gateway, caller: Caller, cloud_id: UUID) -> Row:
    row = await gateway.database.row("read_cloud", caller.workspace, cloud_id)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    if row["state"] != "empty":
        raise Problem(CLOUD_ALREADY_STORED)
    return row

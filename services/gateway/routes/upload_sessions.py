"""Straight to the bucket: the client sends the file there itself, and the gateway only looks.

A session's key is a new object's name, and the object is create-only: what has been looked at is what
the row names. Nothing is kept of a session but in the bucket; a file that nobody completes is an
object that no row names, for the processor's collector.
"""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from services.gateway.api import Header, Reply, Routes
from services.gateway.caller import Caller, Editor
from services.gateway.fields import WHOLE, Crc32c, FileName, Order
from services.gateway.models.clouds import Cloud, CloudUpload
from services.gateway.models.jobs import Job
from services.gateway.problems import (
    CHECKSUM_MISMATCH,
    CLOUD_ALREADY_STORED,
    CLOUD_NOT_FOUND,
    LENGTH_MISMATCH,
    NO_UPLOAD_SESSIONS,
    OBJECT_TOO_LARGE,
    STORAGE_UNAVAILABLE,
    UNSUPPORTED_EXTENSION,
    UPLOAD_EXPIRED,
    UPLOAD_INCOMPLETE,
    Problem,
)
from services.gateway.resources import Gateway
from services.gateway.uploads import EXTENSIONS, check_name
from shared.db import Row
from shared.objects import ObjectInfo

routes = Routes("clouds")

# The collector takes objects that no row names after a day (PROCESSOR_ORPHAN_HOURS): a file is not
# made a cloud's while it may be about to go.
COMPLETE_WITHIN = timedelta(hours=12)
Bytes = Annotated[int, Field(ge=1, le=2**63 - 1, examples=[2_500_000]), WHOLE]
SessionId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{32}$"), Field(description="The session's `id`.")
]


class NewUploadSession(Order):
    """A file that is going to be sent to the bucket."""

    name: FileName
    bytes: Annotated[Bytes, Field(description="Its length: the bucket takes no more and no less.")]


class UploadSession(BaseModel):
    """Where to send the file, by Google's protocol of resumable uploads."""

    id: str
    url: Annotated[
        str, Field(description="A secret, good for a week: whoever has it can send the file.")
    ]


class CompletedSession(Order):
    """What was sent, as the client has it."""

    session: SessionId
    name: FileName
    bytes: Bytes
    crc32c: Annotated[Crc32c, Field(description="What the bytes add up to, eight hex digits.")]


@routes.post(
    "/v1/clouds/{cloud_id}/upload-session",
    status=201,
    problems=(
        CLOUD_NOT_FOUND,
        CLOUD_ALREADY_STORED,
        NO_UPLOAD_SESSIONS,
        OBJECT_TOO_LARGE,
        UNSUPPORTED_EXTENSION,
        STORAGE_UNAVAILABLE,
    ),
)
async def create_upload_session(
    gateway: Gateway,
    caller: Editor,
    cloud_id: UUID,
    body: NewUploadSession,
    origin: Annotated[str | None, Header("Origin")] = None,
) -> UploadSession:
    """Ask for an address in the bucket to which to send the file of an empty cloud.

    PUT the file there (with `Content-Range` in parts, each but the last a multiple of 256 KiB; after
    a cut, `Content-Range: bytes */SIZE` asks how much is there), then complete the session. From a
    page, the bucket must let in the page's origin. Only where the store is a bucket.
    """
    row = await gateway.database.row("read_cloud", caller.workspace, cloud_id)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    if row["state"] != "empty":
        raise Problem(CLOUD_ALREADY_STORED)
    name, limit = check_name(body.name), gateway.settings.max_upload_bytes
    if body.bytes > limit:
        raise Problem.of_field(OBJECT_TOO_LARGE, "bytes", f"the limit is {limit} bytes")
    session = uuid.uuid4().hex
    url = await gateway.store.upload_url(
        _key(caller, cloud_id, session, name),
        media_type=EXTENSIONS[PurePosixPath(name).suffix.lower()],
        size=body.bytes,
        origin=origin,
    )
    if url is None:
        raise Problem(NO_UPLOAD_SESSIONS)
    return UploadSession(id=session, url=url)


@routes.post(
    "/v1/clouds/{cloud_id}/upload-session/complete",
    status=201,
    statuses=(200,),
    problems=(
        CLOUD_NOT_FOUND,
        CLOUD_ALREADY_STORED,
        UPLOAD_INCOMPLETE,
        UPLOAD_EXPIRED,
        LENGTH_MISMATCH,
        CHECKSUM_MISMATCH,
        UNSUPPORTED_EXTENSION,
        STORAGE_UNAVAILABLE,
    ),
)
async def complete_upload_session(
    gateway: Gateway, caller: Editor, cloud_id: UUID, body: CompletedSession
) -> Reply[CloudUpload]:
    """Take what was sent to the bucket as the cloud's file, if length and checksum are right.

    It is milled at once; the answer holds the cloud and the job. Within twelve hours of the last byte.
    A repeat changes nothing and is answered with 200.
    """
    name = check_name(body.name)
    key = _key(caller, cloud_id, body.session, name)
    row = await gateway.database.row("read_cloud", caller.workspace, cloud_id)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    if row["state"] != "empty":
        return await _completed_before(gateway, caller, row, key)
    stored = await gateway.store.stat(key)
    if stored is None:
        raise Problem(UPLOAD_INCOMPLETE)
    _check(stored, body)
    job = await gateway.database.row(
        "finish_upload",
        caller.workspace,
        cloud_id,
        name,
        stored.key,
        stored.size,
        stored.crc32c,
        {},  # the mill decides its parameters by the file
        caller.principal,
        caller.trace,
    )
    row = await gateway.database.row("read_cloud", caller.workspace, cloud_id)
    if row is None:
        raise Problem(CLOUD_NOT_FOUND)
    if job is None:
        return await _completed_before(gateway, caller, row, key)
    gateway.wake_relay()
    gateway.metrics.uploads.labels("stored").inc()
    return _reply(row, job, 201)


async def _completed_before(
    gateway: Gateway, caller: Caller, row: Row, key: str
) -> Reply[CloudUpload]:
    """The same answer to a client that lost it; a refusal if the file came another way."""
    if row["source_object"] != key:
        raise Problem(CLOUD_ALREADY_STORED)
    job = await gateway.database.row("read_job", caller.workspace, row["job_id"])
    if job is None:
        raise Problem(CLOUD_NOT_FOUND)  # deleted just now, and its jobs with it
    return _reply(row, job, 200)


def _reply(cloud: Row, job: Row, status: int) -> Reply[CloudUpload]:
    made = CloudUpload(cloud=Cloud.of(cloud), job=Job.of(job))
    return Reply(made, headers={"Location": f"/v1/clouds/{made.cloud.id}"}, status=status)


def _key(caller: Caller, cloud_id: UUID, session: str, name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return f"{caller.workspace}/clouds/{cloud_id}/{session}{suffix}"


def _check(stored: ObjectInfo, said: CompletedSession) -> None:
    if stored.size != said.bytes:
        message = f"{said.bytes} were sent, but the bucket holds {stored.size}"
        raise Problem.of_field(LENGTH_MISMATCH, "bytes", message)
    if stored.crc32c != said.crc32c:
        message = f"the bytes in the bucket have {stored.crc32c}"
        raise Problem.of_field(CHECKSUM_MISMATCH, "crc32c", message)
    if stored.updated_at < datetime.now(UTC) - COMPLETE_WITHIN:
        raise Problem(UPLOAD_EXPIRED)

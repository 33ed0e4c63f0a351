"""The road of a file: checked before a byte is asked for, streamed to the store, then committed.

An object that no row names is rubbish; a row that names no object would be a lie. So the object
comes first, and is taken back when the rows are refused. Where the commit's answer was lost nobody
knows: then the object stays, and the collector decides by the rows.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from services.gateway.bodies import Upload
from services.gateway.caller import Caller
from services.gateway.problems import (
    EMPTY_FILE,
    INVALID_REQUEST,
    UNSUPPORTED_EXTENSION,
    Problem,
)
from services.gateway.resources import Gateway
from shared.errors import PointmillError, StorageUnavailable
from shared.objects import ObjectInfo

EXTENSIONS = {".las": "application/vnd.las", ".laz": "application/vnd.laszip"}

logger = structlog.get_logger("gateway.uploads")


def check_name(name: str | None) -> str:
    """The file's name, or the refusal of one that is no LAS or LAZ file's."""
    if name is None:
        raise Problem.of_field(INVALID_REQUEST, "name", "is required: the file's name")
    if PurePosixPath(name).suffix.lower() not in EXTENSIONS:
        raise Problem.of_field(UNSUPPORTED_EXTENSION, "name", "must end in .las or .laz")
    return name


def check_not_empty(body: Upload) -> None:
    """Refuse a body that says it is empty."""
    if body.length == 0:
        raise Problem.of_field(EMPTY_FILE, "body", "is empty")


@dataclass(frozen=True)
class Incoming:
    """A file on its way.

    Attributes:
        cloud: whose source it is going to be.
        name: the file's name, checked.
        crc32c: what the client says the bytes add up to.
    """

    cloud: UUID
    name: str
    body: Upload
    crc32c: str | None


async def store_file(gateway: Gateway, caller: Caller, incoming: Incoming) -> ObjectInfo:
    """Stream the file into a new object; durable, or not there at all."""
    suffix = PurePosixPath(incoming.name).suffix.lower()
    key = f"{caller.workspace}/clouds/{incoming.cloud}/{uuid.uuid4().hex}{suffix}"
    try:
        stored = await gateway.store.create(
            key,
            _pieces(gateway, incoming.body),
            media_type=EXTENSIONS[suffix],
            limit=gateway.settings.max_upload_bytes,
            crc32c=incoming.crc32c,
        )
    except PointmillError as error:
        gateway.metrics.uploads.labels(error.code).inc()
        raise
    gateway.metrics.uploads.labels("stored").inc()
    gateway.metrics.upload_bytes.inc(stored.size)
    await gateway.failpoints.reach("gateway.upload.stored")
    return stored


def source_of(caller: Caller, incoming: Incoming, stored: ObjectInfo) -> tuple[Any, ...]:
    """The arguments of the statement `finish_upload`."""
    return (
        caller.workspace,
        incoming.cloud,
        incoming.name,
        stored.key,
        stored.size,
        stored.crc32c,
        {},  # the mill decides its parameters by the file
        caller.principal,
        caller.trace,
    )


async def _pieces(gateway: Gateway, body: Upload) -> AsyncIterator[bytes]:
    async for piece in body.chunks():
        await gateway.failpoints.reach("gateway.upload.receiving")
        yield piece
    if body.received == 0:
        raise Problem.of_field(EMPTY_FILE, "body", "is empty")


@asynccontextmanager
async def taken_back_if_refused(gateway: Gateway, key: str) -> AsyncIterator[None]:
    """Delete the object when the block was refused for certain; after a lost answer it stays."""
    try:
        yield
    except (Problem, asyncpg.PostgresError):
        try:
            await gateway.store.delete(key)
        except StorageUnavailable as error:
            logger.warning("object_left_to_the_collector", key=key, detail=error.detail)
        raise

"""From the row of a product to the answer that holds its file, a part of it, or the way to it."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import StringConstraints

from services.gateway import archives
from services.gateway.downloads import Download, disposition, send
from services.gateway.problems import (
    JOB_NOT_FOUND,
    NOT_AN_ARCHIVE,
    PRECONDITION_FAILED,
    PRODUCT_MEMBER_NOT_FOUND,
    PRODUCT_NOT_FOUND,
    RANGE_NOT_SATISFIABLE,
    STORAGE_UNAVAILABLE,
    Problem,
)
from services.gateway.resources import Gateway
from shared.db import Row

ProductName = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^/\x00-\x1f\x7f]+$")
]
MemberName = Annotated[
    str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]
DOWNLOAD_PROBLEMS = (
    PRODUCT_NOT_FOUND,
    PRECONDITION_FAILED,
    RANGE_NOT_SATISFIABLE,
    STORAGE_UNAVAILABLE,
)
MEMBER_PROBLEMS = (*DOWNLOAD_PROBLEMS, NOT_AN_ARCHIVE, PRODUCT_MEMBER_NOT_FOUND)
REDIRECT_SECONDS = 300
_MEDIA_TYPES = {".json": "application/json", ".glb": "model/gltf-binary"}


async def job_products(gateway: Gateway, workspace: UUID, job: UUID) -> Sequence[Row]:
    """The products of a job.

    Raises:
        Problem: `job_not_found`, when there is no such job in the workspace.
    """
    rows = await gateway.database.rows("read_job_products", workspace, job)
    if not rows and await gateway.database.row("read_job", workspace, job) is None:
        raise Problem(JOB_NOT_FOUND)
    return rows


def find_product(rows: Sequence[Row], name: str) -> Row:
    """The product that is called so, or whose file is.

    Raises:
        Problem: `product_not_found`, with the names there are.
    """
    for row in rows:
        if name in {row["name"], base_of(row)}:
            return row
    known = ", ".join(row["name"] for row in rows) or "none"
    raise Problem(PRODUCT_NOT_FOUND, f"There is no product {name}; there are: {known}.")


def base_of(product: Row) -> str:
    """The name of a product's file, as the job gave it."""
    return PurePosixPath(product["object"]).name


def stem_of(cloud: Row) -> str:
    """What the files of a cloud are called after."""
    return PurePosixPath(cloud["source_name"] or cloud["name"]).stem


async def deliver(  # noqa: PLR0913 - what an answer is made of
    gateway: Gateway,
    request: web.Request,
    product: Row,
    stem: str,
    caching: str,
    *,
    redirect: bool = False,
) -> web.StreamResponse:
    """Answer with a product's file, named after `stem`, or with the bucket's own address of it."""
    base = base_of(product)
    file_name = base if base.startswith(f"{stem}.") else f"{stem}.{base}"
    if redirect:
        url = await gateway.store.signed_url(
            product["object"], REDIRECT_SECONDS, product["media_type"], disposition(file_name)
        )
        if url is not None:
            return web.Response(status=307, headers={"Location": url})
    download = Download(
        key=product["object"],
        size=product["bytes"],
        sha256=product["sha256"],
        tag=product["sha256"],
        media_type=product["media_type"],
        file_name=file_name,
        caching=caching,
    )
    return await send(request, gateway.store, download)


async def deliver_member(
    gateway: Gateway, request: web.Request, product: Row, member: str, caching: str
) -> web.StreamResponse:
    """Answer with one file of a product that is an archive."""
    if product["media_type"] != archives.MEDIA_TYPE:
        raise Problem(NOT_AN_ARCHIVE)
    try:
        place = await gateway.archives.find(product["object"], product["bytes"], member)
    except archives.NoArchive as error:
        raise Problem(NOT_AN_ARCHIVE) from error
    if place is None:
        raise Problem(PRODUCT_MEMBER_NOT_FOUND)
    suffix = PurePosixPath(member).suffix
    download = Download(
        key=product["object"],
        size=place[1],
        sha256="",
        tag=f"{product['sha256']}.{member}",
        media_type=_MEDIA_TYPES.get(suffix, "application/octet-stream"),
        file_name=member,
        caching=caching,
        start=place[0],
    )
    return await send(request, gateway.store, download)

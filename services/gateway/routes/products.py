"""Products: the files that jobs have made, listed and downloaded."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import StringConstraints

from services.gateway.api import Routes
from services.gateway.caller import Viewer
from services.gateway.downloads import Download, send
from services.gateway.models.products import Products, products_at
from services.gateway.problems import (
    CLOUD_NOT_FOUND,
    JOB_NOT_FOUND,
    PRODUCT_NOT_FOUND,
    RANGE_NOT_SATISFIABLE,
    STORAGE_UNAVAILABLE,
    Problem,
)
from services.gateway.resources import Gateway
from shared.db import Row

routes = Routes("products")
ProductName = Annotated[str, StringConstraints(max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]
DOWNLOAD_PROBLEMS = (PRODUCT_NOT_FOUND, RANGE_NOT_SATISFIABLE, STORAGE_UNAVAILABLE)


@routes.get("/v1/clouds/{cloud_id}/products", problems=(CLOUD_NOT_FOUND,))
async def list_cloud_products(gateway: Gateway, caller: Viewer, cloud_id: UUID) -> Products:
    """List the products of a cloud: of each name the latest."""
    rows = await gateway.database.rows("read_cloud_products", caller.workspace, cloud_id)
    if not rows and await gateway.database.row("read_cloud", caller.workspace, cloud_id) is None:
        raise Problem(CLOUD_NOT_FOUND)
    return products_at(f"/v1/clouds/{cloud_id}/products", rows)


@routes.get("/v1/jobs/{job_id}/products", problems=(JOB_NOT_FOUND,))
async def list_job_products(gateway: Gateway, caller: Viewer, job_id: UUID) -> Products:
    """List the products of a job."""
    rows = await gateway.database.rows("read_job_products", caller.workspace, job_id)
    if not rows and await gateway.database.row("read_job", caller.workspace, job_id) is None:
        raise Problem(JOB_NOT_FOUND)
    return products_at(f"/v1/jobs/{job_id}/products", rows)


@routes.get(
    "/v1/clouds/{cloud_id}/products/{name}",
    problems=(CLOUD_NOT_FOUND, *DOWNLOAD_PROBLEMS),
    media_types=("application/octet-stream",),
    statuses=(206, 304),
)
async def download_cloud_product(
    gateway: Gateway, caller: Viewer, request: web.Request, cloud_id: UUID, name: ProductName
) -> web.StreamResponse:
    """Download the latest product of this name.

    Byte ranges and `If-None-Match` are honoured.
    """
    cloud = await gateway.database.row("read_cloud", caller.workspace, cloud_id)
    if cloud is None:
        raise Problem(CLOUD_NOT_FOUND)
    rows = await gateway.database.rows("read_cloud_products", caller.workspace, cloud_id)
    stem = PurePosixPath(cloud["source_name"] or cloud["name"]).stem
    return await send(request, gateway.store, _download(rows, name, stem))


@routes.get(
    "/v1/jobs/{job_id}/products/{name}",
    problems=(JOB_NOT_FOUND, *DOWNLOAD_PROBLEMS),
    media_types=("application/octet-stream",),
    statuses=(206, 304),
)
async def download_job_product(
    gateway: Gateway, caller: Viewer, request: web.Request, job_id: UUID, name: ProductName
) -> web.StreamResponse:
    """Download a product of a job.

    Byte ranges and `If-None-Match` are honoured.
    """
    if await gateway.database.row("read_job", caller.workspace, job_id) is None:
        raise Problem(JOB_NOT_FOUND)
    rows = await gateway.database.rows("read_job_products", caller.workspace, job_id)
    return await send(request, gateway.store, _download(rows, name, str(job_id)))


def _download(rows: Sequence[Row], name: str, stem: str) -> Download:
    row = next((row for row in rows if row["name"] == name), None)
    if row is None:
        known = ", ".join(row["name"] for row in rows) or "none"
        raise Problem(PRODUCT_NOT_FOUND, f"There is no product {name}; there are: {known}.")
    base = PurePosixPath(row["object"]).name
    return Download(
        key=row["object"],
        size=row["bytes"],
        etag=f'"{row["sha256"]}"',
        media_type=row["media_type"],
        file_name=base if base.startswith(f"{stem}.") else f"{stem}.{base}",
    )

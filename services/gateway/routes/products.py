"""Products: the files that jobs have made, listed and downloaded."""

from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from services.gateway.api import Query, Routes
from services.gateway.caller import Viewer
from services.gateway.delivery import (
    DOWNLOAD_PROBLEMS,
    MEMBER_PROBLEMS,
    MemberName,
    ProductName,
    deliver,
    deliver_member,
    find_product,
    job_products,
    stem_of,
)
from services.gateway.downloads import IMMUTABLE, LATEST
from services.gateway.models.products import Products, products_at
from services.gateway.problems import CLOUD_NOT_FOUND, JOB_NOT_FOUND, Problem
from services.gateway.resources import Gateway
from shared.db import Row

routes = Routes("products")


class DownloadQuery(BaseModel):
    """How the file is handed out."""

    model_config = ConfigDict(extra="forbid")

    redirect: Annotated[
        bool,
        Field(
            description="Answer 307 with the bucket's own signed URL, good for five minutes, where "
            "the store has one (gs:// with a key file); else as without it."
        ),
    ] = False


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
    rows = await job_products(gateway, caller.workspace, job_id)
    return products_at(f"/v1/jobs/{job_id}/products", rows)


@routes.get(
    "/v1/clouds/{cloud_id}/products/{name}",
    problems=(CLOUD_NOT_FOUND, *DOWNLOAD_PROBLEMS),
    media_types=("*/*",),
    statuses=(206, 304, 307),
)
async def download_cloud_product(  # noqa: PLR0913, PLR0917 - what a request holds
    gateway: Gateway,
    caller: Viewer,
    request: web.Request,
    cloud_id: UUID,
    name: ProductName,
    query: Annotated[DownloadQuery, Query()],
) -> web.StreamResponse:
    """Download the latest product of this name, or of this file name.

    Byte ranges, several at once too (up to 16, ascending), `If-Range`, `If-Match` and
    `If-None-Match` are honoured.
    """
    rows, stem = await _cloud_products(gateway, caller, cloud_id)
    product = find_product(rows, name)
    return await deliver(gateway, request, product, stem, LATEST, redirect=query.redirect)


@routes.get(
    "/v1/jobs/{job_id}/products/{name}",
    problems=(JOB_NOT_FOUND, *DOWNLOAD_PROBLEMS),
    media_types=("*/*",),
    statuses=(206, 304, 307),
)
async def download_job_product(  # noqa: PLR0913, PLR0917 - what a request holds
    gateway: Gateway,
    caller: Viewer,
    request: web.Request,
    job_id: UUID,
    name: ProductName,
    query: Annotated[DownloadQuery, Query()],
) -> web.StreamResponse:
    """Download a product of a job, by its name or its file's name. It never changes.

    Byte ranges, several at once too (up to 16, ascending), `If-Range`, `If-Match` and
    `If-None-Match` are honoured. The relative links of the product `item` (a STAC item) lead here.
    """
    product = find_product(await job_products(gateway, caller.workspace, job_id), name)
    stem = str(job_id)
    return await deliver(gateway, request, product, stem, IMMUTABLE, redirect=query.redirect)


@routes.get(
    "/v1/clouds/{cloud_id}/products/{name}/{member}",
    problems=(CLOUD_NOT_FOUND, *MEMBER_PROBLEMS),
    media_types=("*/*",),
    statuses=(206, 304),
)
async def download_cloud_product_member(  # noqa: PLR0913, PLR0917 - what a request holds
    gateway: Gateway,
    caller: Viewer,
    request: web.Request,
    cloud_id: UUID,
    name: ProductName,
    member: MemberName,
) -> web.StreamResponse:
    """Download one file out of the latest archive of this name.

    `…/products/tiles3d/tileset.json` is what a viewer of 3D Tiles opens.
    """
    rows, _ = await _cloud_products(gateway, caller, cloud_id)
    return await deliver_member(gateway, request, find_product(rows, name), member, LATEST)


@routes.get(
    "/v1/jobs/{job_id}/products/{name}/{member}",
    problems=(JOB_NOT_FOUND, *MEMBER_PROBLEMS),
    media_types=("*/*",),
    statuses=(206, 304),
)
async def download_job_product_member(  # noqa: PLR0913, PLR0917 - what a request holds
    gateway: Gateway,
    caller: Viewer,
    request: web.Request,
    job_id: UUID,
    name: ProductName,
    member: MemberName,
) -> web.StreamResponse:
    """Download one file out of a job's archive. It never changes.

    `…/products/tiles3d/tileset.json` is what a viewer of 3D Tiles opens.
    """
    product = find_product(await job_products(gateway, caller.workspace, job_id), name)
    return await deliver_member(gateway, request, product, member, IMMUTABLE)


async def _cloud_products(
    gateway: Gateway, caller: Viewer, cloud_id: UUID
) -> tuple[list[Row], str]:
    """The latest products of a cloud, and what their files are called after."""
    cloud = await gateway.database.row("read_cloud", caller.workspace, cloud_id)
    if cloud is None:
        raise Problem(CLOUD_NOT_FOUND)
    rows = await gateway.database.rows("read_cloud_products", caller.workspace, cloud_id)
    return list(rows), stem_of(cloud)

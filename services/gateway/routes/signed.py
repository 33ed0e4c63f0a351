"""Signed links: whoever has one downloads one file, without a key, for a while."""

import time
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from aiohttp import web
from pydantic import StringConstraints

from services.gateway.api import Routes
from services.gateway.caller import Viewer
from services.gateway.delivery import (
    DOWNLOAD_PROBLEMS,
    MEMBER_PROBLEMS,
    MemberName,
    ProductName,
    base_of,
    deliver,
    deliver_member,
    find_product,
    job_products,
)
from services.gateway.models.products import NewSignedLink, SignedLink
from services.gateway.problems import (
    CLOUD_NOT_FOUND,
    JOB_NOT_FOUND,
    PRODUCT_NOT_FOUND,
    SIGNING_UNAVAILABLE,
    TICKET_INVALID,
    Problem,
)
from services.gateway.resources import Gateway
from services.gateway.signing import LONGEST_TICKET
from shared.db import Row

routes = Routes("products")
PURPOSE = "product"
Ticket = Annotated[str, StringConstraints(max_length=LONGEST_TICKET, pattern=r"^[A-Za-z0-9_-]+$")]


@routes.post(
    "/v1/jobs/{job_id}/products/{name}/url",
    status=201,
    problems=(JOB_NOT_FOUND, PRODUCT_NOT_FOUND, SIGNING_UNAVAILABLE),
)
async def sign_job_product(
    gateway: Gateway, caller: Viewer, job_id: UUID, name: ProductName, body: NewSignedLink
) -> SignedLink:
    """Make a link to a product that needs no key, for a while.

    It is good for this one file (and what is in it, if it is an archive), at every replica, and
    cannot be taken back before it ends.
    """
    rows = await job_products(gateway, caller.workspace, job_id)
    return _sign(gateway, caller, find_product(rows, name), body)


@routes.post(
    "/v1/clouds/{cloud_id}/products/{name}/url",
    status=201,
    problems=(CLOUD_NOT_FOUND, PRODUCT_NOT_FOUND, SIGNING_UNAVAILABLE),
)
async def sign_cloud_product(
    gateway: Gateway, caller: Viewer, cloud_id: UUID, name: ProductName, body: NewSignedLink
) -> SignedLink:
    """Make a link to the product that is the latest of its name now; see the job's."""
    rows = await gateway.database.rows("read_cloud_products", caller.workspace, cloud_id)
    if not rows and await gateway.database.row("read_cloud", caller.workspace, cloud_id) is None:
        raise Problem(CLOUD_NOT_FOUND)
    return _sign(gateway, caller, find_product(rows, name), body)


@routes.get(
    "/v1/signed/{ticket}/{name}",
    problems=(TICKET_INVALID, *DOWNLOAD_PROBLEMS),
    media_types=("*/*",),
    statuses=(206, 304),
)
async def download_signed(
    gateway: Gateway, request: web.Request, ticket: Ticket, name: ProductName
) -> web.StreamResponse:
    """Download the file that a signed link names, as its own address does."""
    product, caching = await _read(gateway, ticket, name)
    stem = base_of(product).partition(".")[0]
    return await deliver(gateway, request, product, stem, caching)


@routes.get(
    "/v1/signed/{ticket}/{name}/{member}",
    problems=(TICKET_INVALID, *MEMBER_PROBLEMS),
    media_types=("*/*",),
    statuses=(206, 304),
)
async def download_signed_member(
    gateway: Gateway, request: web.Request, ticket: Ticket, name: ProductName, member: MemberName
) -> web.StreamResponse:
    """Download one file out of the archive that a signed link names."""
    product, caching = await _read(gateway, ticket, name)
    return await deliver_member(gateway, request, product, member, caching)


def _sign(gateway: Gateway, caller: Viewer, product: Row, wanted: NewSignedLink) -> SignedLink:
    until = int(time.time()) + wanted.seconds
    allowed = {
        "workspace": str(caller.workspace),
        "job": str(product["job_id"]),
        "product": product["name"],
    }
    ticket = gateway.signer.sign(PURPOSE, allowed, until)
    return SignedLink(
        href=f"/v1/signed/{ticket}/{quote(base_of(product), safe='')}",
        expires_at=datetime.fromtimestamp(until, UTC),
    )


async def _read(gateway: Gateway, ticket: str, name: str) -> tuple[Row, str]:
    """The product of a link, and how long a browser may keep it."""
    allowed, until = gateway.signer.read(PURPOSE, ticket)
    workspace, job = UUID(allowed["workspace"]), UUID(allowed["job"])
    rows = await gateway.database.rows("read_job_products", workspace, job)
    product = next((row for row in rows if row["name"] == allowed["product"]), None)
    if product is None or base_of(product) != name:
        # A relative link in the file leads here, too, and must not lead to the file itself.
        raise Problem(PRODUCT_NOT_FOUND, "The link is good for one file only.")
    return product, f"private, max-age={int(until - time.time())}, immutable"

"""Webhooks: receivers of signed deliveries about jobs that have ended."""

import base64
import secrets
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from services.gateway.api import Query, Reply, Routes
from services.gateway.caller import Editor
from services.gateway.fields import Order
from services.gateway.models.webhooks import NewWebhook, Webhook, Webhooks
from services.gateway.once import GatewayOnce
from services.gateway.paging import Listing
from services.gateway.problems import WEBHOOK_NOT_FOUND, Problem
from services.gateway.resources import Gateway

routes = Routes("webhooks")


def _check_url(url: str) -> str:
    """Where it leads is checked when it is called, each time: names change what they mean."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https address")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must hold no user and no fragment")
    _ = parts.port  # raises ValueError when it is none
    return url


Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000, pattern=r"^[!#-;=?-\[\]_a-z~]+$"),
    AfterValidator(_check_url),
    Field(
        json_schema_extra={
            "pattern": r"^https?://[a-z0-9.-]+(:[0-9]{1,4})?(/[!#-;=?-Z_a-z~]*)?$",
        },
        examples=["https://example.org/pointmill"],
    ),
]


class WebhookOrder(Order):
    """A webhook to be made."""

    url: Url


@routes.post("/v1/webhooks", status=201)
async def create_webhook(
    gateway: GatewayOnce, caller: Editor, body: WebhookOrder
) -> Reply[NewWebhook]:
    """Ask for signed deliveries (Standard Webhooks) about every job that ends.

    The secret that signs them is shown only in this answer.
    """
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await transaction.row("create_webhook", caller.workspace, body.url, secret)
    webhook = NewWebhook.model_validate({**dict(row or {}), "secret": secret})
    return Reply(webhook, headers={"Location": f"/v1/webhooks/{webhook.id}"})


@routes.get("/v1/webhooks")
async def list_webhooks(
    gateway: Gateway, caller: Editor, query: Annotated[Listing, Query()]
) -> Webhooks:
    """List the webhooks, newest first."""
    after = query.after()
    async with gateway.database.transaction(caller.workspace) as transaction:
        found = await transaction.rows("list_webhooks", *after, query.limit + 1)
    rows, cursor = query.cut(found)
    return Webhooks(items=[Webhook.of(row) for row in rows], next=cursor)


@routes.get("/v1/webhooks/{webhook_id}", problems=(WEBHOOK_NOT_FOUND,))
async def read_webhook(gateway: Gateway, caller: Editor, webhook_id: UUID) -> Webhook:
    """Read a webhook; never its secret."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await transaction.row("read_webhook", webhook_id)
    if row is None:
        raise Problem(WEBHOOK_NOT_FOUND)
    return Webhook.of(row)


@routes.delete("/v1/webhooks/{webhook_id}", problems=(WEBHOOK_NOT_FOUND,))
async def delete_webhook(gateway: Gateway, caller: Editor, webhook_id: UUID) -> None:
    """Delete a webhook; deliveries to it end."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        row = await transaction.row("delete_webhook", webhook_id)
    if row is None:
        raise Problem(WEBHOOK_NOT_FOUND)

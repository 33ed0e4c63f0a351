"""Webhooks as they are shown."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.gateway.models.shown import Page, Shown


class Webhook(Shown):
    """A receiver of signed deliveries (Standard Webhooks) about jobs that have ended."""

    id: UUID
    url: str
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    created_at: datetime


class NewWebhook(Webhook):
    """A webhook just made."""

    secret: Annotated[str, Field(description="Signs the deliveries. Shown only now.")]


class Webhooks(Page[Webhook]):
    """A part of the list of webhooks."""

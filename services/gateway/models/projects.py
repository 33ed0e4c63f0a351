"""Projects as they are shown."""

from datetime import datetime
from typing import Any
from uuid import UUID

from services.gateway.models.shown import Page, Shown


class Project(Shown):
    """A group of clouds that belong together."""

    id: UUID
    name: str
    description: str
    config: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


class Projects(Page[Project]):
    """A part of the list of projects."""

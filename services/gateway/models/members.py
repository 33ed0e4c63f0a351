"""Members as they are shown."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.gateway.models.shown import Page, Shown
from services.gateway.roles import Role


class Member(Shown):
    """A person who belongs to the workspace."""

    id: UUID
    name: str
    email: str
    role: Role
    notify_by_mail: Annotated[bool, Field(description="Whether a mail tells of jobs that ended.")]
    created_at: datetime


class Members(Page[Member]):
    """A part of the list of members."""

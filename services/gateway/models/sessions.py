"""Who asks, as it is shown."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from services.gateway.roles import Role


class SessionUser(BaseModel):
    """A person who has signed in."""

    name: str
    email: Annotated[str | None, Field(description="As the provider has verified it.")]


class SessionWorkspace(BaseModel):
    """A workspace that the caller may enter."""

    id: UUID
    name: str
    role: Role


class Session(BaseModel):
    """Who asks, where, and what they may do there."""

    principal: Annotated[str, Field(description="`key:…` or `user:…`, as rows name it.")]
    role: Role
    operator: bool
    workspace: UUID
    workspaces: Annotated[list[SessionWorkspace], Field(description="All that may be entered.")]
    user: Annotated[SessionUser | None, Field(description="Null for a key.")] = None
    expires_at: Annotated[
        datetime | None, Field(description="When a browser's session ends; else null.")
    ] = None

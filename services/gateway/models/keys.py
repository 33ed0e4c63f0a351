"""API keys as they are shown: never their secrets, but once."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from services.gateway.models.shown import Shown
from services.gateway.roles import Role


class ApiKey(Shown):
    """An API key of the workspace."""

    id: Annotated[str, Field(description="The eight digits after `pm_` of the key itself.")]
    name: str
    role: Role
    operator: Annotated[bool, Field(description="Whether it may do what operators do.")]
    created_at: datetime
    created_by: Annotated[str, Field(description="Who made it: `key:…` or `user:…`.")]
    expires_at: Annotated[datetime | None, Field(description="Null: it does not expire.")] = None
    revoked_at: datetime | None = None
    last_used_at: Annotated[datetime | None, Field(description="To a minute or so.")] = None
    previous_until: Annotated[
        datetime | None, Field(description="How long the secret before the last rotation opens.")
    ] = None


class NewApiKey(ApiKey):
    """An API key with its text."""

    key: Annotated[str, Field(description="The key itself. Shown only now.")]


class ApiKeys(BaseModel):
    """All keys of the workspace."""

    items: list[ApiKey]

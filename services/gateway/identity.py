"""Who somebody has proved to be, by whatever they have shown."""

from dataclasses import dataclass
from uuid import UUID

from services.gateway.roles import Role


@dataclass(frozen=True)
class Identity:
    """Somebody in a workspace.

    Attributes:
        principal: how rows name who asked: `key:<id>`.
        operator: whether it may do what concerns every workspace.
    """

    principal: str
    workspace: UUID
    role: Role
    operator: bool = False

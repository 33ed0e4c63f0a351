"""Who asks, and whether they may: a route's signature names the role it needs.

    async def create_project(gateway: Gateway, caller: Editor, body: NewProject) -> ...

`Viewer`, `Editor`, `Admin` and `Operator` are what routes ask for; `Caller` is what they all are.
"""

from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import UUID

from aiohttp import web

from services.gateway.problems import (
    OPERATORS_ONLY,
    ROLE_TOO_LOW,
    UNAUTHORIZED,
    Kind,
    Problem,
)
from services.gateway.ration import take_ration
from services.gateway.resources import GATEWAY
from services.gateway.roles import Role
from services.gateway.trace import read_trace

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pointmill"'}


@dataclass(frozen=True)
class Caller:
    """Who asks, the workspace they speak for, and the trace the request belongs to.

    Attributes:
        principal: how rows name who asked.
    """

    principal: str
    workspace: UUID
    trace: str
    role: Role
    operator: bool

    secured: ClassVar[bool] = True
    # A route that says no more than `Caller` must not be open to all.
    needs: ClassVar[Role] = Role.ADMIN
    problems: ClassVar[tuple[Kind, ...]] = (UNAUTHORIZED, ROLE_TOO_LOW)

    @classmethod
    async def from_request(cls, request: web.Request) -> Self:
        """The caller, or a refusal that does not say what is wrong with the key."""
        token = _token(request)
        found = None if token is None else await request.app[GATEWAY].keys.find(token)
        if found is None:
            raise Problem(UNAUTHORIZED, headers=CHALLENGE)
        caller = cls(
            found.principal, found.workspace, read_trace(request), found.role, found.operator
        )
        take_ration(request, caller.principal)
        caller.check()
        return caller

    def check(self) -> None:
        """Refuse a caller whose role is too low."""
        if not self.role.allows(self.needs):
            raise Problem(ROLE_TOO_LOW, f"It needs the role {self.needs}; yours is {self.role}.")


def _token(request: web.Request) -> str | None:
    """The key that a request carries, where it carries one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    # A browser can set no header of a WebSocket but this one, and no other site can read it.
    for protocol in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        kind, _, token = protocol.strip().partition(".")
        if kind == "bearer":
            return token
    return None


@dataclass(frozen=True)
class Viewer(Caller):
    """A caller who may read."""

    needs: ClassVar[Role] = Role.VIEWER
    problems: ClassVar[tuple[Kind, ...]] = (UNAUTHORIZED,)


@dataclass(frozen=True)
class Editor(Caller):
    """A caller who may change what is in the workspace."""

    needs: ClassVar[Role] = Role.EDITOR


@dataclass(frozen=True)
class Admin(Caller):
    """A caller who may say who else has access."""

    needs: ClassVar[Role] = Role.ADMIN


@dataclass(frozen=True)
class Operator(Caller):
    """A caller whose key is an operator's: a route that asks for one is refused to all others."""

    problems: ClassVar[tuple[Kind, ...]] = (UNAUTHORIZED, OPERATORS_ONLY)

    def check(self) -> None:
        """Refuse a caller who is no operator."""
        if not self.operator:
            raise Problem(OPERATORS_ONLY)

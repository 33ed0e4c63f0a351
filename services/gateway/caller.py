"""Who asks, and whether they may: a route's signature names the role it needs.

    async def create_project(gateway: Gateway, caller: Editor, body: NewProject) -> ...

`Viewer`, `Editor`, `Admin` and `Operator` are what routes ask for; `Caller` is what they all are.
"""

from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import UUID

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from services.gateway.identity import Identity
from services.gateway.people import User
from services.gateway.problems import (
    CROSS_SITE,
    NOT_A_MEMBER,
    OPERATORS_ONLY,
    ROLE_TOO_LOW,
    SIGN_IN_UNAVAILABLE,
    UNAUTHORIZED,
    WORKSPACE_NEEDED,
    WORKSPACE_NOT_FOUND,
    Kind,
    Problem,
)
from services.gateway.ration import take_ration
from services.gateway.refusals import refuse_values
from services.gateway.resources import GATEWAY
from services.gateway.roles import Role
from services.gateway.sessions import COOKIE, refuse_other_sites
from services.gateway.trace import read_trace

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pointmill"'}
# Which of their workspaces somebody means.
WORKSPACE_HEADER = "Pointmill-Workspace"
REFUSALS = (
    UNAUTHORIZED,
    CROSS_SITE,
    NOT_A_MEMBER,
    WORKSPACE_NEEDED,
    WORKSPACE_NOT_FOUND,
    SIGN_IN_UNAVAILABLE,
)
read_id = TypeAdapter(UUID).validate_strings


@dataclass(frozen=True)
class Caller:
    """Who asks, the workspace they speak for, and the trace the request belongs to.

    Attributes:
        principal: how rows name who asked.
        user: the person, where it is not a key that asks.
    """

    principal: str
    workspace: UUID
    trace: str
    role: Role
    operator: bool
    user: User | None = None

    secured: ClassVar[bool] = True
    # A route that says no more than `Caller` must not be open to all.
    needs: ClassVar[Role] = Role.ADMIN
    problems: ClassVar[tuple[Kind, ...]] = (*REFUSALS, ROLE_TOO_LOW)

    @classmethod
    async def from_request(cls, request: web.Request) -> Self:
        """The caller, or a refusal that does not say what is wrong with the key."""
        found, user = await _identify(request)
        caller = cls(
            found.principal, found.workspace, read_trace(request), found.role, found.operator, user
        )
        take_ration(request, caller.principal)
        caller.check()
        return caller

    def check(self) -> None:
        """Refuse a caller whose role is too low."""
        if not self.role.allows(self.needs):
            raise Problem(ROLE_TOO_LOW, f"It needs the role {self.needs}; yours is {self.role}.")


def _token(request: web.Request) -> str | None:
    """The key or token that a request carries, where it carries one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    # A browser can set no header of a WebSocket but this one, and no other site can read it.
    for protocol in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        kind, _, token = protocol.strip().partition(".")
        if kind == "bearer":
            return token
    return None


async def _identify(request: web.Request) -> tuple[Identity, User | None]:
    """Whom the request's key, token or cookie speaks for; a key needs no more than a look-up."""
    gateway = request.app[GATEWAY]
    wanted = _wanted(request)
    user, token = None, _token(request)
    if token is not None:
        if token.startswith("pm_"):
            found = await gateway.keys.find(token)
            if found is not None:
                if wanted not in {None, found.workspace}:
                    raise Problem(WORKSPACE_NOT_FOUND)
                return found, None
        else:
            user = await gateway.people.of_token(token)
    elif "Authorization" not in request.headers and (session := request.cookies.get(COOKIE)):
        refuse_other_sites(request, gateway.settings.public_url)
        user = await gateway.people.of_session(session)
    if user is None:
        raise Problem(UNAUTHORIZED, headers=CHALLENGE)
    return user.enter(wanted), user


def _wanted(request: web.Request) -> UUID | None:
    given = request.headers.get(WORKSPACE_HEADER)
    if given is None:
        return None
    try:
        wanted: UUID = read_id(given)
    except ValidationError as error:
        raise refuse_values(error, WORKSPACE_HEADER) from error
    return wanted


@dataclass(frozen=True)
class SessionHolder:
    """A browser with a session, whatever its user may do."""

    session: str

    secured: ClassVar[bool] = True
    problems: ClassVar[tuple[Kind, ...]] = (UNAUTHORIZED, CROSS_SITE)

    @classmethod
    async def from_request(cls, request: web.Request) -> Self:
        """The session of the request's cookie, or a refusal."""
        gateway = request.app[GATEWAY]
        session = request.cookies.get(COOKIE)
        if session is None or "Authorization" in request.headers:
            raise Problem(UNAUTHORIZED, "This is for browsers with a session.", headers=CHALLENGE)
        refuse_other_sites(request, gateway.settings.public_url)
        if await gateway.people.of_session(session) is None:
            raise Problem(UNAUTHORIZED, headers=CHALLENGE)
        return cls(session)


@dataclass(frozen=True)
class Viewer(Caller):
    """A caller who may read."""

    needs: ClassVar[Role] = Role.VIEWER
    problems: ClassVar[tuple[Kind, ...]] = REFUSALS


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

    problems: ClassVar[tuple[Kind, ...]] = (*REFUSALS, OPERATORS_ONLY)

    def check(self) -> None:
        """Refuse a caller who is no operator."""
        if not self.operator:
            raise Problem(OPERATORS_ONLY)

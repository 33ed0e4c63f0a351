"""Who asks: the API key of a request."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import UUID

from aiohttp import web

from services.gateway.problems import OPERATORS_ONLY, UNAUTHORIZED, Kind, Problem
from services.gateway.resources import GATEWAY
from services.gateway.trace import read_trace

KEY = re.compile(r"pm_([0-9a-f]{8})_([0-9a-f]{48})")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="pointmill"'}


@dataclass(frozen=True)
class Caller:
    """The key that asks, the workspace it speaks for, and the trace its request belongs to."""

    key: str
    workspace: UUID
    trace: str
    operator: bool

    secured: ClassVar[bool] = True
    problems: ClassVar[tuple[Kind, ...]] = (UNAUTHORIZED,)

    @property
    def principal(self) -> str:
        """How rows name who asked."""
        return f"key:{self.key}"

    @classmethod
    async def from_request(cls, request: web.Request) -> Self:
        """The caller, or a refusal that does not say what is wrong with the key."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        match = KEY.fullmatch(token.strip()) if scheme.lower() == "bearer" else None
        if match is None:
            raise Problem(UNAUTHORIZED, headers=CHALLENGE)
        found = await request.app[GATEWAY].keys.find(match[1], match[2])
        if found is None:
            raise Problem(UNAUTHORIZED, headers=CHALLENGE)
        return cls(match[1], found.workspace, read_trace(request), found.operator)


@dataclass(frozen=True)
class Operator(Caller):
    """A caller whose key is an operator's: a route that asks for one is refused to all others."""

    problems: ClassVar[tuple[Kind, ...]] = (UNAUTHORIZED, OPERATORS_ONLY)

    @classmethod
    async def from_request(cls, request: web.Request) -> Self:
        """The operator, or a refusal."""
        caller = await super().from_request(request)
        if not caller.operator:
            raise Problem(OPERATORS_ONLY)
        return caller

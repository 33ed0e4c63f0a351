"""Who asks: the API key of a request."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import UUID

from aiohttp import web

from services.gateway.problems import UNAUTHORIZED, Kind, Problem
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
        workspace = await request.app[GATEWAY].keys.workspace(match[1], match[2])
        if workspace is None:
            raise Problem(UNAUTHORIZED, headers=CHALLENGE)
        return cls(match[1], workspace, read_trace(request))

"""People: found by the token of an OpenID provider or by their session, and where they belong."""

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.gateway.identity import Identity
from services.gateway.oidc import Person, Provider, TokenRefused
from services.gateway.problems import NOT_A_MEMBER, WORKSPACE_NEEDED, WORKSPACE_NOT_FOUND, Problem
from services.gateway.roles import Role
from shared.db import Database, Row

# How long somebody who was removed, or has signed out elsewhere, may still get in.
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 1000


@dataclass(frozen=True)
class Membership:
    """A workspace that a person belongs to."""

    workspace: UUID
    name: str
    role: Role


@dataclass(frozen=True)
class User:
    """A person who has signed in.

    Attributes:
        chosen: the workspace that a session looks at; None where there is no session.
        expires_at: when the session ends.
    """

    id: UUID
    email: str | None
    name: str
    memberships: tuple[Membership, ...]
    chosen: UUID | None = None
    expires_at: datetime | None = None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "User":
        """The rows of `read_person`, `sign_in` or `find_session`."""
        first = rows[0]
        memberships = tuple(
            Membership(row["workspace_id"], row["workspace_name"], Role(row["role"]))
            for row in rows
            if row["workspace_id"] is not None
        )
        return cls(
            id=first["user_id"],
            email=first["email"],
            name=first["user_name"],
            memberships=memberships,
            chosen=first.get("chosen"),
            expires_at=first.get("expires_at"),
        )

    def enter(self, wanted: UUID | None) -> Identity:
        """The user in the wanted workspace, in the one of the session, or in the only one."""
        known = {one.workspace: one for one in self.memberships}
        if not known:
            raise Problem(NOT_A_MEMBER)
        if wanted is not None and wanted not in known:
            raise Problem(WORKSPACE_NOT_FOUND)
        here = known.get(wanted or self.chosen or self.memberships[0].workspace)
        if here is None:
            here = self.memberships[0]  # the session's user was removed from the one it looked at
        elif wanted is None and self.expires_at is None and len(known) > 1:
            names = ", ".join(f"{one.name} ({one.workspace})" for one in self.memberships)
            raise Problem(WORKSPACE_NEEDED, f"They are: {names}.")
        return Identity(f"user:{self.id}", here.workspace, here.role)


class People:
    """Users, looked up in the database and remembered for a few seconds."""

    def __init__(self, database: Database, provider: Provider | None, audience: str | None) -> None:
        """`audience` is what a bearer token must be for; without it none is taken."""
        self._database = database
        self.provider = provider
        self._audience = audience
        self._known: dict[bytes, tuple[float, User]] = {}

    async def of_token(self, token: str) -> User | None:
        """The user whom a bearer token speaks of; None when it is not valid.

        Raises:
            ProviderAway: the provider's keys could not be had.
        """
        provider, audience = self.provider, self._audience
        if provider is None or audience is None:
            return None

        async def look_up() -> User | None:
            try:
                return await self.sign_in(await provider.verify(token, audience))
            except TokenRefused:
                return None

        return await self._remembered(b"token" + _hash(token), look_up)

    async def of_session(self, session: str) -> User | None:
        """The user of a session; None when it is over."""
        digest = _hash(session)

        async def look_up() -> User | None:
            rows = await self._database.rows("find_session", digest)
            return User.of(rows) if rows else None

        return await self._remembered(digest, look_up)

    async def sign_in(self, person: Person) -> User:
        """The user that a person is, made if new; members with the address become the user's."""
        rows = await self._database.rows(
            "sign_in", person.issuer, person.subject, person.email, person.name
        )
        return User.of(rows)

    async def open_session(self, user: User, seconds: float) -> str:
        """A new session's secret; only its hash is stored."""
        session = secrets.token_urlsafe(32)
        first = user.memberships[0].workspace if user.memberships else None
        await self._database.value("open_session", _hash(session), user.id, first, seconds)
        return session

    async def choose(self, session: str, workspace: UUID) -> bool:
        """Let the session look at another workspace; whether its user belongs there."""
        digest = _hash(session)
        chosen: bool = await self._database.value("choose_workspace", digest, workspace)
        self._known.pop(digest, None)
        return chosen

    async def close_session(self, session: str) -> None:
        """End a session."""
        digest = _hash(session)
        await self._database.value("close_session", digest)
        self._known.pop(digest, None)

    async def _remembered(
        self, digest: bytes, look_up: Callable[[], Awaitable[User | None]]
    ) -> User | None:
        known = self._known.get(digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        user = await look_up()
        if user is not None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (time.monotonic() + REMEMBERED_SECONDS, user)
        return user


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()

"""API keys: their text, who they speak for, and roughly when they were last used.

    pm_<8 hex: id>_<48 hex: secret>_<8 hex: checksum>

Keys of before have no checksum and go on working. By the prefix and the checksum a scanner of
sources finds a key that has leaked, and knows it for one; the gateway refuses a mistyped one
without asking the database.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import time
import zlib
from uuid import UUID

import structlog

from services.gateway.identity import Identity
from services.gateway.roles import Role
from shared.db import Database
from shared.errors import DatabaseUnavailable

# How long a revoked key may still work.
REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 1000
# How exactly the last use of a key is known.
NOTED_EVERY_SECONDS = 60.0

FORM = re.compile(r"(pm_([0-9a-f]{8})_([0-9a-f]{48}))(?:_([0-9a-f]{8}))?")

log = structlog.get_logger("gateway.keys")


def new_key() -> tuple[str, str, bytes]:
    """A new key: its id, its text, and the hash of its secret."""
    return key_of(secrets.token_hex(4))


def key_of(identifier: str) -> tuple[str, str, bytes]:
    """A key of this id with a new secret.

    The secret carries 192 random bits: a slow hash would protect nothing and cost every request.
    """
    secret = secrets.token_hex(24)
    plain = f"pm_{identifier}_{secret}"
    return identifier, f"{plain}_{checksum(plain)}", hash_of(secret)


def checksum(plain: str) -> str:
    """CRC-32 of the key's text before it, in hexadecimal."""
    return f"{zlib.crc32(plain.encode()):08x}"


def hash_of(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def read_key(text: str) -> tuple[str, str] | None:
    """The id and the secret of a key; None if it cannot be one."""
    match = FORM.fullmatch(text)
    if match is None or (match[4] is not None and match[4] != checksum(match[1])):
        return None
    return match[2], match[3]


class Keys:
    """API keys, looked up in the database and remembered for a few seconds."""

    def __init__(self, database: Database) -> None:
        """Start with none remembered."""
        self._database = database
        self._known: dict[bytes, tuple[float, Identity]] = {}
        self._used: set[str] = set()

    async def find(self, text: str) -> Identity | None:
        """Whom the key speaks for; None when it is malformed, unknown, not in force or a lie.

        Only hashes are remembered, and only of keys that were right.
        """
        read = read_key(text)
        if read is None:
            return None
        key, secret = read
        digest = hash_of(secret)
        known = self._known.get(key.encode() + digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        row = await self._database.row("find_api_key", key)
        if row is None or not _is_one_of(digest, row["secret_sha256"], row["previous_sha256"]):
            return None
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        workspace: UUID = row["workspace_id"]
        found = Identity(f"key:{key}", workspace, Role(row["role"]), operator=row["operator"])
        self._known[key.encode() + digest] = (time.monotonic() + REMEMBERED_SECONDS, found)
        self._used.add(key)
        return found

    async def note_uses(self) -> None:
        """Tell the database which keys were used since it was last told; one statement for all."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._database.value("note_key_uses", sorted(used))
        except DatabaseUnavailable as error:
            self._used |= used
            log.warning("key_uses_not_noted", keys=len(used), detail=error.detail)

    async def keep_noting(self) -> None:
        """Tell of uses every minute, and once more when the gateway stops."""
        try:
            while True:
                await asyncio.sleep(NOTED_EVERY_SECONDS)
                await self.note_uses()
        finally:
            await self.note_uses()


def _is_one_of(digest: bytes, current: bytes, previous: bytes | None) -> bool:
    """Whether it is the secret or, within its grace, the one before it."""
    right = hmac.compare_digest(digest, current)
    return right or (previous is not None and hmac.compare_digest(digest, previous))

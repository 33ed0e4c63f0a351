"""The services' roles, and how they get their passwords without any server seeing one.

What reaches PostgreSQL is the SCRAM-SHA-256 verifier (RFC 5802, RFC 7677) made here, so neither a
statement log nor pg_stat_statements ever holds a password.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

import asyncpg

ROLES = ("gateway", "processor", "notifier")
_ITERATIONS = 4096  # what PostgreSQL itself takes
_SALT_BYTES = 16


def read_passwords(text: str) -> dict[str, str]:
    """The passwords in a JSON object of role to password.

    Raises:
        ValueError: it is no such object; the sentence never holds a password.
    """
    try:
        found = json.loads(text)
    except ValueError:
        # JSON's own message would quote the text.
        raise ValueError("is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object of role to password")  # noqa: TRY004 - one kind of refusal
    for role, password in found.items():
        if role not in ROLES:
            raise ValueError(f"names {role!r}; the roles are {', '.join(ROLES)}")
        if not _is_plain(password):
            raise ValueError(f"gives {role} a password that is empty or not printable ASCII")
    return found


def _is_plain(password: object) -> bool:
    """Whether the password is its own SASLprep form, so that every client derives the same key."""
    return (
        isinstance(password, str)
        and bool(password)
        and password.isascii()
        and password.isprintable()
    )


def verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL keeps of a password: enough to check a login, too little to make one."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


async def set_passwords(
    connection: "asyncpg.Connection[Any]", passwords: Mapping[str, str]
) -> None:
    """Let each role log in with its password. Repeating it or changing one ends no session.

    Args:
        connection: as a role that may manage the services' roles.
        passwords: role to password, as `read_passwords` returns them.
    """
    for role, password in passwords.items():
        # Utility statements take no parameters; names and verifiers hold no quote.
        await connection.execute(f"alter role {role} login password '{verifier(password)}'")

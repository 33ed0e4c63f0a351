"""API keys: made, listed, rotated, revoked by the admins of their workspace."""

from typing import Annotated

import structlog
from pydantic import Field, StringConstraints

from services.gateway.api import Reply, Routes
from services.gateway.caller import Admin
from services.gateway.fields import WHOLE, Name, Order
from services.gateway.keys import key_of, new_key
from services.gateway.models.keys import ApiKey, ApiKeys, NewApiKey
from services.gateway.problems import (
    KEY_NOT_FOUND,
    KEY_NOT_IN_FORCE,
    OPERATORS_ONLY,
    TIME_PASSED,
    TOO_MANY_KEYS,
    Problem,
)
from services.gateway.resources import Gateway
from services.gateway.roles import Role
from services.gateway.timing import Moment
from shared.db import Transaction

routes = Routes("keys")
logger = structlog.get_logger("gateway")

MOST_KEYS = 200
MOST_LISTED = 1000
# Ids are 32 random bits: that one is taken happens, that two are does not.
TRIES = 2
DAY = 86_400
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$"), Field(examples=["0a1b2c3d"])]


class KeyOrder(Order):
    """A key to be made."""

    name: Annotated[Name, Field(description="What it is for, so that one knows it again.")]
    role: Annotated[Role, Field(description="What it may do.")]
    expires_at: Annotated[Moment | None, Field(description="Null: it does not expire.")] = None
    operator: Annotated[
        bool, Field(description="Whether it is an operator's; only operators may make such.")
    ] = False


class Rotation(Order):
    """How a key gets another secret."""

    grace_seconds: Annotated[
        int, Field(ge=0, le=30 * DAY, description="How long the old secret opens as well."), WHOLE
    ] = DAY


@routes.post("/v1/keys", status=201, problems=(TOO_MANY_KEYS, TIME_PASSED, OPERATORS_ONLY))
async def create_key(gateway: Gateway, caller: Admin, body: KeyOrder) -> Reply[NewApiKey]:
    """Make an API key. Its text is shown only in this answer."""
    if body.operator and not caller.operator:
        raise Problem.of_field(OPERATORS_ONLY, "operator", "only an operator may make such a key")
    async with gateway.database.transaction(caller.workspace) as transaction:
        if body.expires_at is not None and body.expires_at <= await transaction.value("read_time"):
            raise Problem.of_field(TIME_PASSED, "expires_at", "has passed already")
        for _ in range(TRIES):
            identifier, text, digest = new_key()
            row = await transaction.row(
                "create_api_key",
                identifier,
                caller.workspace,
                body.name,
                digest,
                body.role,
                body.operator,
                body.expires_at,
                caller.principal,
                MOST_KEYS,
            )
            if row is not None:
                break
        else:
            raise Problem(TOO_MANY_KEYS, f"The workspace has {MOST_KEYS} keys already.")
    made = NewApiKey.model_validate({**dict(row), "key": text})
    logger.info("key_made", key=made.id, role=made.role, by=caller.principal)
    return Reply(made, headers={"Location": f"/v1/keys/{made.id}"})


@routes.get("/v1/keys")
async def list_keys(gateway: Gateway, caller: Admin) -> ApiKeys:
    """List the API keys, newest first.

    Those that were revoked come last, and are told for 90 days.
    """
    async with gateway.database.transaction(caller.workspace) as transaction:
        rows = await transaction.rows("list_api_keys", MOST_LISTED)
    return ApiKeys(items=[ApiKey.of(row) for row in rows])


@routes.get("/v1/keys/{key_id}", problems=(KEY_NOT_FOUND,))
async def read_key(gateway: Gateway, caller: Admin, key_id: KeyId) -> ApiKey:
    """Read an API key."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        return await _read(transaction, key_id)


@routes.post("/v1/keys/{key_id}/rotate", problems=(KEY_NOT_FOUND, KEY_NOT_IN_FORCE, OPERATORS_ONLY))
async def rotate_key(gateway: Gateway, caller: Admin, key_id: KeyId, body: Rotation) -> NewApiKey:
    """Give an API key another secret.

    Its id, role and expiry stay. The old secret opens for a while as well, so that its users can be
    given the new one; a secret from before that ends now. The new text is shown only in this answer.
    """
    _, text, digest = key_of(key_id)
    async with gateway.database.transaction(caller.workspace) as transaction:
        await _read_to_change(transaction, caller, key_id)
        if not await transaction.value("rotate_api_key", key_id, digest, body.grace_seconds):
            raise Problem(KEY_NOT_IN_FORCE)
        rotated = await _read(transaction, key_id)
    logger.info("key_rotated", key=key_id, by=caller.principal)
    return NewApiKey.model_validate({**rotated.model_dump(), "key": text})


@routes.delete("/v1/keys/{key_id}", problems=(KEY_NOT_FOUND, OPERATORS_ONLY))
async def revoke_key(gateway: Gateway, caller: Admin, key_id: KeyId) -> None:
    """Revoke an API key for good. It ends within five seconds; repeating it does no harm."""
    async with gateway.database.transaction(caller.workspace) as transaction:
        await _read_to_change(transaction, caller, key_id)
        await transaction.row("revoke_api_key", key_id)
    logger.info("key_revoked", key=key_id, by=caller.principal)


async def _read(transaction: Transaction, key_id: str) -> ApiKey:
    row = await transaction.row("read_api_key", key_id)
    if row is None:
        raise Problem(KEY_NOT_FOUND)
    return ApiKey.of(row)


async def _read_to_change(transaction: Transaction, caller: Admin, key_id: str) -> None:
    """An admin must not become an operator by giving an operator's key a new secret."""
    if (await _read(transaction, key_id)).operator and not caller.operator:
        raise Problem(OPERATORS_ONLY, "It is an operator's key.")

"""Requests that are done once, however often they are sent: the `Idempotency-Key`.

A creating route takes its gateway as `GatewayOnce`. When a request carries a key, the gateway it gets
does everything in one transaction, and the answer is stored in that transaction under the key: either
both are there or neither is, whenever we are killed. A repeat gets the stored answer for a day; a
twin that comes meanwhile waits a moment for it. A refusal is not remembered: it has changed nothing,
and the same request may be right a minute later. A file that is the body is received before the
transaction begins; of two that arrive at once, one is kept.

Without a key nothing of this happens.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.gateway.bodies import Upload
from services.gateway.caller import Caller
from services.gateway.fields import IdempotencyKey
from services.gateway.problems import IDEMPOTENCY_KEY_IN_USE, IDEMPOTENCY_KEY_REUSED, Problem
from services.gateway.refusals import refuse_values
from services.gateway.resources import Gateway
from services.gateway.signatures import KEY_HEADER, Once
from shared.db import Row, Transaction

GatewayOnce: TypeAlias = Annotated[Gateway, Once()]
# How long a twin waits for the first to end before it is told to come again.
WAIT_SECONDS = 5.0
REPEATED = {"Idempotent-Replayed": "true"}
check_key = TypeAdapter(IdempotencyKey).validate_strings


@dataclass(frozen=True)
class _Order:
    """What a key stands for: who asked for what."""

    caller: Caller
    route: str
    key: str
    fingerprint: bytes

    def scope(self) -> tuple[Any, ...]:
        return self.caller.workspace, self.caller.principal, self.route, self.key


class _Answered(Problem):
    """The order has been carried out already; travels up to where its answer is sent again."""

    def __init__(self, stored: Row) -> None:
        super().__init__(IDEMPOTENCY_KEY_IN_USE)
        self.stored = stored


async def answer_once(  # noqa: PLR0913, PLR0917 - called in one place
    request: web.Request,
    caller: Caller,
    route: str,
    body: BaseModel | Upload | None,
    gateway: Gateway,
    run: Callable[[Gateway], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Run the route under the request's key, or answer as it was answered before.

    Raises:
        Problem: the key stands for another request, its first is still in hand, or `run` refuses.
    """
    try:
        key = check_key(request.headers[KEY_HEADER])
    except ValidationError as error:
        raise refuse_values(error, KEY_HEADER) from error
    order = _Order(caller, route, key, _fingerprint(request, body))
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return await _run(order, body, gateway, run)
        except _Answered as answered:
            return _repeat(answered.stored)
        except Problem as problem:
            tried_later = isinstance(body, Upload) or time.monotonic() > until
            if problem.code != IDEMPOTENCY_KEY_IN_USE.code or tried_later:
                raise
        await asyncio.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - to be out of step


async def _run(
    order: _Order,
    body: BaseModel | Upload | None,
    gateway: Gateway,
    run: Callable[[Gateway], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    woken: list[bool] = []

    async def begun(transaction: Transaction) -> None:
        _check(order, await transaction.row("take_idempotency_key", *order.scope()))

    def ready() -> bool:
        return not isinstance(body, Upload) or body.ended

    if isinstance(body, Upload):
        # A repeat is answered before its file is asked for.
        async with gateway.database.transaction() as transaction:
            await begun(transaction)
    async with gateway.database.as_one(begun, ready) as database:
        if ready():
            await database.begin()
        within = replace(
            gateway,
            database=database,
            kinds=gateway.kinds.through(database),
            # What is to be told is not committed yet.
            wake_relay=lambda: woken.append(True),
        )
        response = await run(within)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            headers = {str(name): value for name, value in response.headers.items()}
            kept = (order.fingerprint, response.status, headers, response.body)
            await database.value("keep_answer", *order.scope(), *kept)
    if woken:
        gateway.wake_relay()
    return response


def _check(order: _Order, known: Row | None) -> None:
    if known is None or not known["taken"]:
        raise Problem(IDEMPOTENCY_KEY_IN_USE, headers={"Retry-After": "1"})
    if known["fingerprint"] is None:
        return
    if known["fingerprint"] != order.fingerprint:
        raise Problem.of_field(IDEMPOTENCY_KEY_REUSED, KEY_HEADER, "was used before")
    raise _Answered(known)


def _repeat(stored: Row) -> web.Response:
    headers = {**stored["headers"], **REPEATED}
    return web.Response(body=stored["answer"], status=stored["status"], headers=headers)


def _fingerprint(request: web.Request, body: BaseModel | Upload | None) -> bytes:
    """What tells orders apart. Of a file that is the body only its announced length counts."""
    asked: Any = None
    if isinstance(body, Upload):
        asked = body.length
    elif body is not None:
        # Only what was sent: a field that a newer gateway knows must not make it another order.
        asked = body.model_dump(mode="json", exclude_unset=True)
    parts = [request.path, sorted(request.query.items()), asked]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()

"""Kinds: what jobs there are, as the processors have announced them."""

from typing import Annotated

import structlog
from pydantic import Field

from services.gateway.api import Header, Reply, Routes
from services.gateway.caller import Operator, Viewer
from services.gateway.fields import WHOLE, Name, Order, Version
from services.gateway.merging import absent
from services.gateway.models.kinds import JobKind, Kinds
from services.gateway.problems import KIND_NOT_FOUND, PRECONDITION_FAILED, Problem
from services.gateway.resources import Gateway
from services.gateway.versions import etag, refuse_stale
from shared.db import Row

routes = Routes("kinds")
logger = structlog.get_logger("gateway")


class KindChange(Order):
    """What operators set of a kind; what is left out stays."""

    paused: Annotated[bool, Field(description="Whether its jobs wait; those that run go on.")] = (
        absent()
    )
    starts_per_minute: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="Of the whole system; null takes the limit away."),
        WHOLE,
    ] = absent()


@routes.get("/v1/kinds")
async def list_kinds(gateway: Gateway, caller: Viewer) -> Kinds:  # noqa: ARG001 - asked for a key
    """List the kinds of jobs, with the JSON Schema of their parameters."""
    rows = await gateway.database.rows("list_kinds")
    return Kinds(items=[JobKind.of(row) for row in rows])


@routes.get("/v1/kinds/{kind}", problems=(KIND_NOT_FOUND,))
async def read_kind(gateway: Gateway, caller: Viewer, kind: Name) -> Reply[JobKind]:  # noqa: ARG001 - same
    """Read a kind."""
    row = await gateway.database.row("read_kind", kind)
    if row is None:
        raise Problem(KIND_NOT_FOUND)
    return Reply(JobKind.of(row), headers=etag(_state(row)))


def _state(row: Row) -> str:
    """What operators set of it, and the version its processor has announced."""
    paused = 0 if row["paused_at"] is None else int(row["paused_at"].timestamp() * 1_000_000)
    return f"{row['version']}.{paused}.{row['starts_per_minute'] or 0}"


@routes.patch("/v1/kinds/{kind}", problems=(KIND_NOT_FOUND, PRECONDITION_FAILED))
async def change_kind(
    gateway: Gateway,
    operator: Operator,
    kind: Name,
    body: KindChange,
    if_match: Annotated[Version | None, Header("If-Match")] = None,
) -> Reply[JobKind]:
    """Pause or resume a kind, or limit how often its jobs start. For operators.

    A free slot learns of it within two seconds.
    """
    limits = "starts_per_minute" in body.model_fields_set
    change = (kind, body.paused, limits, body.starts_per_minute)
    async with gateway.database.transaction() as transaction:
        if if_match is not None and (known := await transaction.row("lock_kind", kind)):
            refuse_stale(_state(known), if_match)
        row = await transaction.row("change_kind", *change)
    if row is None:
        raise Problem(KIND_NOT_FOUND)
    logger.info(
        "kind_changed", kind=kind, by=operator.principal, **body.model_dump(exclude_unset=True)
    )
    return Reply(JobKind.of(row), headers=etag(_state(row)))

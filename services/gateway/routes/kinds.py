"""Kinds: what jobs there are, as the processors have announced them."""

from services.gateway.api import Routes
from services.gateway.caller import Caller
from services.gateway.fields import Name
from services.gateway.models import JobKind, Kinds
from services.gateway.problems import KIND_NOT_FOUND, Problem
from services.gateway.resources import Gateway

routes = Routes("kinds")


@routes.get("/v1/kinds")
async def list_kinds(gateway: Gateway, caller: Caller) -> Kinds:  # noqa: ARG001 - asked for a key
    """List the kinds of jobs, with the JSON Schema of their parameters."""
    rows = await gateway.database.rows("list_kinds")
    return Kinds(items=[JobKind.of(row) for row in rows])


@routes.get("/v1/kinds/{kind}", problems=(KIND_NOT_FOUND,))
async def read_kind(gateway: Gateway, caller: Caller, kind: Name) -> JobKind:  # noqa: ARG001 - same
    """Read a kind."""
    row = await gateway.database.row("read_kind", kind)
    if row is None:
        raise Problem(KIND_NOT_FOUND)
    return JobKind.of(row)

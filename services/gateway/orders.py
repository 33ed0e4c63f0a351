"""Whether a job may be ordered: its kind is known, its parameters fit, its cloud has a file."""

from itertools import islice
from typing import Any
from uuid import UUID

from services.gateway.caller import Caller
from services.gateway.problems import (
    CLOUD_EMPTY,
    CLOUD_NOT_FOUND,
    INVALID_REQUEST,
    UNKNOWN_KIND,
    Problem,
)
from services.gateway.resources import Gateway
from shared.params import refused_params

MOST_ERRORS = 20


async def check_order(
    gateway: Gateway, caller: Caller, kind: str, params: dict[str, Any], cloud: UUID | None
) -> None:
    """Raise a Problem that names what is wrong with the order."""
    known = await gateway.database.row("read_kind", kind)
    if known is None:
        raise Problem.of_field(UNKNOWN_KIND, "kind", f"{kind} is not known")
    check_params(known["params_schema"], params)
    if cloud is None:
        if known["needs_source"]:
            raise Problem.of_field(INVALID_REQUEST, "cloud", f"is required by {kind}")
        return
    row = await gateway.database.row("read_cloud", caller.workspace, cloud)
    if row is None:
        raise Problem.of_field(CLOUD_NOT_FOUND, "cloud", "is not a cloud of yours")
    if known["needs_source"] and row["state"] != "stored":
        raise Problem.of_field(CLOUD_EMPTY, "cloud", "has no file yet")


def check_params(schema: dict[str, Any], params: dict[str, Any]) -> None:
    """Raise a Problem that names each parameter the schema refuses, as `params.<name>`."""
    refused = islice(refused_params(schema, params), MOST_ERRORS)
    errors = [(".".join(("params", *path))[:200], message[:300]) for path, message in refused]
    if errors:
        detail = "; ".join(f"{field}: {message}" for field, message in errors[:3])
        raise Problem(INVALID_REQUEST, f"{detail}.", errors=errors)

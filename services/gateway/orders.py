"""Whether a job may be ordered: its kind is known, its parameters fit, its cloud has a file."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from services.gateway.caller import Caller
from services.gateway.pipelines import check_inputs
from services.gateway.problems import (
    CLOUD_EMPTY,
    CLOUD_NOT_FOUND,
    INVALID_REQUEST,
    UNKNOWN_KIND,
    Problem,
)
from services.gateway.resources import Gateway

MOST_ERRORS = 20


async def check_order(  # noqa: PLR0913, PLR0917 - the parts of an order
    gateway: Gateway,
    caller: Caller,
    kind: str,
    params: dict[str, Any],
    cloud: UUID | None,
    inputs: Iterable[str] = (),
) -> None:
    """Raise a Problem that names what is wrong with the order."""
    known = await gateway.kinds.find(kind)
    if known is None:
        raise Problem.of_field(UNKNOWN_KIND, "kind", f"{kind} is not known")
    check_params(known.params, params)
    check_inputs(kind, known.row["inputs"], inputs)
    if cloud is None:
        if known.row["needs_source"]:
            raise Problem.of_field(INVALID_REQUEST, "cloud", f"is required by {kind}")
        return
    row = await gateway.database.row("read_cloud", caller.workspace, cloud)
    if row is None:
        raise Problem.of_field(CLOUD_NOT_FOUND, "cloud", "is not a cloud of yours")
    if known.row["needs_source"] and row["state"] != "stored":
        raise Problem.of_field(CLOUD_EMPTY, "cloud", "has no file yet")


def check_params(schema: Draft202012Validator, params: dict[str, Any]) -> None:
    """Raise a Problem that names each parameter the schema refuses, as `params.<name>`."""
    errors = []
    for error in schema.iter_errors(params):
        # Of several allowed shapes, the one that was meant says best what is wrong.
        errors += _told(best_match([error]) or error)
        if len(errors) >= MOST_ERRORS:
            break
    if errors:
        detail = "; ".join(f"{field}: {message}" for field, message in errors[:3])
        raise Problem(INVALID_REQUEST, f"{detail}.", errors=errors[:MOST_ERRORS])


def _told(error: ValidationError) -> list[tuple[str, str]]:
    path = ".".join(["params", *(str(part) for part in error.absolute_path)])
    instance: Any = error.instance
    if error.validator == "required":
        # Said of the object that lacks them; a client looks for the parameter.
        wanted: Any = error.validator_value
        return [(f"{path}.{name}", "is required") for name in wanted if name not in instance]
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        unknown = [name for name in instance if name not in known]
        return [(f"{path}.{name}"[:200], "is not a known parameter") for name in unknown]
    return [(path[:200], error.message[:300])]

"""Changes as JSON Merge Patch (RFC 7396): what is absent stays, null takes away, objects are merged."""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import Field

from services.gateway.bodies import JSON_BYTES
from services.gateway.fields import Order
from services.gateway.problems import INVALID_REQUEST, Problem
from shared.db import Row


def absent() -> Any:
    """The default of a change's member: nothing that a client could read as a value."""
    return Field(default=None, json_schema_extra=_without_default)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def merged(row: Row, change: Order, empty: Mapping[str, Any]) -> dict[str, Any]:
    """The row's columns as the change leaves them.

    Args:
        row: as it is now, and locked.
        change: what is asked for; only its members that were sent count.
        empty: of each column, what it is when it has been taken away.

    Raises:
        Problem: an object would become too large.
    """
    columns = {}
    for name, nothing in empty.items():
        value = row[name]
        if name in change.model_fields_set:
            asked = getattr(change, name)
            value = nothing if asked is None else merge(value, asked)
        if isinstance(value, dict):
            _refuse_large(name, value)
        columns[name] = value
    return columns


def merge(target: Any, patch: Any) -> Any:
    """The target with the patch applied; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def _refuse_large(name: str, document: dict[str, Any]) -> None:
    # Each patch is bounded; what many of them pile up must be, too.
    size = len(orjson.dumps(document))
    if size > JSON_BYTES:
        message = f"would be {size} bytes, the limit is {JSON_BYTES} bytes"
        raise Problem.of_field(INVALID_REQUEST, name, message)

"""Whether a job's parameters are what its kind takes: both doors, HTTP and messages, ask here."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match


def refused_params(
    schema: dict[str, Any], params: dict[str, Any]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each parameter that the kind's JSON Schema refuses: the way to it, and what is wrong."""
    for error in Draft202012Validator(schema).iter_errors(params):
        # Of several allowed shapes, the one that was meant says it best.
        yield from _told(best_match([error]) or error)


def _told(error: ValidationError) -> Iterator[tuple[tuple[str, ...], str]]:
    path = tuple(str(part) for part in error.absolute_path)
    instance: Any = error.instance
    if error.validator == "required":
        # Said of the object that lacks them; a client looks for the parameter.
        wanted: Any = error.validator_value
        yield from (((*path, name), "is required") for name in wanted if name not in instance)
    elif error.validator == "additionalProperties":
        known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
        unknown = (name for name in instance if name not in known)
        yield from (((*path, name), "is not a known parameter") for name in unknown)
    else:
        yield path, error.message

"""How pydantic's findings are told to a client: which value, and what is wrong with it."""

from collections.abc import Sequence

from pydantic import ValidationError

from services.gateway.problems import INVALID_REQUEST, MALFORMED_JSON, Problem

MOST_ERRORS = 20
LONGEST_FIELD = 200
# pydantic speaks of models and regular expressions; a client thinks in fields.
MESSAGES = {
    "extra_forbidden": "is not a known field",
    "missing": "is required",
    "string_pattern_mismatch": "holds a character that is not allowed here",
    "string_unicode": "is not valid UTF-8",
}


def refuse_values(error: ValidationError, whole: str) -> Problem:
    """The problem that names every refused value.

    Args:
        error: what pydantic found.
        whole: the field to name when the value as a whole is at fault (`body`, a parameter).
    """
    found = error.errors(include_url=False, include_input=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        return Problem(MALFORMED_JSON, f"{found[0]['msg']}.", errors=[(whole, found[0]["msg"])])
    errors = []
    for item in found[:MOST_ERRORS]:
        message = MESSAGES.get(item["type"]) or item["msg"].removeprefix("Value error, ")
        errors.append((_field(item["loc"], whole), message))
    told = "; ".join(f"{field}: {message}" for field, message in errors[:3])
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return Problem(INVALID_REQUEST, f"{told}{more}.", errors=errors)


def _field(location: Sequence[int | str], whole: str) -> str:
    if not location:
        return whole
    # An unknown field's name is the client's own text: it must survive being encoded again.
    path = ".".join(str(part) for part in location)[:LONGEST_FIELD]
    return path.encode("utf-8", "replace").decode("utf-8")

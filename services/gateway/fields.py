"""The annotated types of values that clients send: what Postgres and JSON can hold, and no more."""

import math
from typing import Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

# Postgres stores no NUL in text and jsonb; the pattern also tells clients so in the schema.
NO_NUL = r"^[^\x00]*$"
# Control characters and the marks that turn the direction of text have no place in a name.
NO_CONTROL = r"^[^\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]*$"
DEEPEST = 32
LARGEST_INTEGER = 2**63 - 1


class Order(BaseModel):
    """The base of everything a client sends: unknown fields are refused, numbers are finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def refuse_what_jsonb_cannot_hold(document: dict[str, Any]) -> dict[str, Any]:
    """Walk a JSON document and refuse NUL, NaN, infinities, huge integers and bottomless nesting."""
    _walk(document, "", 0)
    return document


def _walk(value: Any, path: str, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError(f"is nested deeper than {DEEPEST} levels")
    if isinstance(value, dict):
        for name, member in value.items():
            _refuse_scalar(name, path)
            _walk(member, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _walk(member, f"{path}.{index}" if path else str(index), depth + 1)
    else:
        _refuse_scalar(value, path)


def _refuse_scalar(value: Any, path: str) -> None:
    where = f" at {path[:200]!r}" if path else ""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError(f"holds a NUL character{where}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"holds a number that is not finite{where}")
    elif isinstance(value, int) and not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise ValueError(f"holds an integer of more than 64 bits{where}")


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Stands last in the annotation of an integer in a body: JSON knows no integers, 1.0 is one as well.
WHOLE = BeforeValidator(_integral)
Text = Annotated[str, StringConstraints(max_length=10_000, pattern=NO_NUL)]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=NO_CONTROL),
    # What is left when the spaces around it are gone must not be nothing: the pattern tells that, too.
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "pattern": NO_CONTROL[:-1] + NO_CONTROL[1:-2].replace("[^", r"[^\s") + NO_CONTROL[1:],
        }
    ),
]
Document = Annotated[
    dict[str, Any],
    AfterValidator(refuse_what_jsonb_cannot_hold),
    Field(description="Any JSON object.", examples=[{}]),
]
FileName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069/\\]*$"
    ),
    # Told here, refused in uploads.py with a problem of its own.
    Field(
        json_schema_extra={"pattern": r"^[A-Za-z0-9][^\x00-\x1f\x7f/\\]*\.[Ll][Aa][SsZz]$"},
        examples=["town.laz"],
    ),
]
Crc32c = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")]


def _read_object(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError("is not JSON") from error


# A JSON object in a query.
Contained = Annotated[
    dict[str, Any],
    BeforeValidator(_read_object),
    AfterValidator(refuse_what_jsonb_cannot_hold),
    Field(examples=[{"survey": "2026"}]),
]
Version = Annotated[
    str,
    StringConstraints(pattern=r'^(\*|(W/)?"[\x21\x23-\x7e]{0,200}")$'),
    Field(
        description="Only if it is still as this `ETag` says; `*`: if it is there.",
        examples=["*"],
    ),
]
IdempotencyKey = Annotated[
    str,
    StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$"),
    Field(
        description="A repeat of the same request under the same key, within a day, changes nothing and"
        " gets the first answer.",
        examples=["3f6c2f0e-upload-town"],
    ),
]

"""What is wrong with parameters is said of the parameter, in words of what was meant."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from services.gateway.orders import check_params
from services.gateway.problems import Problem

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {
        "text": {"type": "string"},
        "copies": {"type": "integer", "minimum": 1},
        "products": {
            "anyOf": [{"type": "array", "items": {"enum": ["dsm", "dtm"]}}, {"type": "null"}]
        },
    },
}

SCHEMA = Draft202012Validator(_SCHEMA)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, ("params.text", "is required")),
        ({"text": "x", "colour": 1}, ("params.colour", "is not a known parameter")),
        ({"text": "x", "copies": 0}, ("params.copies", "0 is less than the minimum of 1")),
        (
            {"text": "x", "products": ["dsm", "nope"]},
            ("params.products.1", "'nope' is not one of ['dsm', 'dtm']"),
        ),
    ],
)
def test_a_refused_parameter_is_named_with_what_is_allowed(
    params: dict[str, Any], said: tuple[str, str]
) -> None:
    with pytest.raises(Problem) as problem:
        check_params(SCHEMA, params)
    assert list(problem.value.errors) == [said]


def test_params_of_any_allowed_shape_are_taken() -> None:
    check_params(SCHEMA, {"text": "x", "products": None})
    check_params(SCHEMA, {"text": "x", "products": ["dsm"]})

"""What is wrong with parameters is said of the parameter, in words of what was meant."""

from typing import Any

import pytest

from shared.params import refused_params

SCHEMA: dict[str, Any] = {
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


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"text": "x", "products": None}, []),
        ({}, [(("text",), "is required")]),
        ({"text": "x", "colour": 1}, [(("colour",), "is not a known parameter")]),
        ({"text": "x", "copies": 0}, [(("copies",), "0 is less than the minimum of 1")]),
        (
            {"text": "x", "products": ["dsm", "nope"]},
            [(("products", "1"), "'nope' is not one of ['dsm', 'dtm']")],
        ),
    ],
)
def test_a_refused_parameter_is_named_with_what_is_allowed(
    params: dict[str, Any], said: list[tuple[tuple[str, ...], str]]
) -> None:
    assert list(refused_params(SCHEMA, params)) == said

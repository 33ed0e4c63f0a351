"""The document of the gateway is whole: routes, problems, headers, an example of every model."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.gateway.app import ROUTES
from services.gateway.openapi import build_document

ALL = [route for group in ROUTES for route in group]
DOCUMENT: dict[str, Any] = build_document(ALL, title="Pointmill", version="1", description="Test.")
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def test_the_document_is_valid_and_holds_the_routes_and_no_others() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert {name for name, _ in OPERATIONS} == {f"{route.method} {route.path}" for route in ALL}


@pytest.mark.parametrize(
    "name", [name for name, schema in SCHEMAS.items() if schema.get("type") == "object"]
)
def test_every_model_has_an_example_that_is_one(name: str) -> None:
    assert SCHEMAS[name].get("examples"), f"add one to services/gateway/examples.py for {name}"
    validator = Draft202012Validator({**SCHEMAS[name], "components": {"schemas": SCHEMAS}})
    for example in SCHEMAS[name]["examples"]:
        validator.validate(example)


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_is_described(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert not operation["summary"].endswith(".")
    responses = operation["responses"]
    good = [status for status in responses if status.startswith("2") or status in {"101", "303"}]
    assert good
    if "security" in operation:
        assert {"401", "429"} <= set(responses)
        assert "RateLimit" in responses[good[0]]["headers"]
    if "202" in responses:
        assert {"Location", "Retry-After"} <= set(responses["202"]["headers"])
    for status, response in responses.items():
        assert response["description"]
        if status >= "400":
            assert set(response["content"]) == {"application/problem+json"}
    for parameter in operation.get("parameters", ()):
        assert parameter.get("schema") or parameter.get("content"), name


def test_no_two_operations_share_a_name() -> None:
    names = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(names) == len(set(names))

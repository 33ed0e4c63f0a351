"""The document says what the routes do."""

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.gateway.openapi import build_document
from tests.unit.gateway.conftest import Served


@pytest.fixture
def document(served: Served) -> dict[str, Any]:
    return build_document(served.routes, title="Samples", version="1", description="For a test.")


async def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"] == "3.1.0"


async def test_each_operation_declares_what_its_signature_implies(document: dict[str, Any]) -> None:
    create = document["paths"]["/samples"]["post"]
    assert create["operationId"] == "create_sample"
    assert create["summary"] == "Create a sample"
    assert create["description"] == "Its name is its own."
    assert create["security"] == [{"key": []}, {"session": []}]
    assert set(create["responses"]) == {
        "201", "400", "401", "408", "409", "413", "415", "422", "429", "500",
    }  # fmt: skip
    read = document["paths"]["/samples/{sample_id}"]["get"]
    assert set(read["responses"]) == {"200", "304", "400", "422", "500"}
    assert "security" not in read
    assert "requestBody" not in read


async def test_parameters_are_declared_where_they_are(document: dict[str, Any]) -> None:
    listing = document["paths"]["/samples"]["get"]["parameters"]
    assert {(one["name"], one["in"], one["required"]) for one in listing} == {
        ("limit", "query", False),
        ("name", "query", False),
        ("Idempotency-Key", "header", False),
        ("If-None-Match", "header", False),
    }
    assert next(one for one in listing if one["name"] == "name")["schema"]["type"] == "string"


async def test_bodies_and_answers_are_declared_by_media_type(document: dict[str, Any]) -> None:
    either = document["paths"]["/either"]["post"]["requestBody"]["content"]
    assert set(either) == {"application/json", "application/octet-stream"}
    text = document["paths"]["/text"]["get"]["responses"]["200"]["content"]
    assert set(text) == {"text/plain"}
    assert "content" not in document["paths"]["/samples/{sample_id}"]["delete"]["responses"]["204"]

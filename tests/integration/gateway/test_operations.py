"""What operators and documents see: health, metrics, the document and its pages."""

import asyncio
import re

from openapi_spec_validator import OpenAPIV31SpecValidator

from services.gateway.app import ROUTES
from tests.integration.gateway.conftest import Running


async def test_a_gateway_with_all_its_parts_is_ready(running: Running) -> None:
    async with asyncio.timeout(15):
        while (answer := await running.nobody("GET", "/readyz")).status != 200:
            await asyncio.sleep(0.2)
    assert (answer.status, answer.json["status"]) == (200, "ok")
    assert set(answer.json["checks"]) == {"database", "schema", "broker", "storage"}
    assert (await running.nobody("GET", "/livez")).json == {"status": "ok"}


async def test_metrics_can_be_scraped(running: Running) -> None:
    await running.api("GET", "/v1/projects")
    text = (await running.nobody("GET", "/metrics")).body.decode()
    assert 'pointmill_http_requests_total{method="GET",route="/v1/projects",status="200"}' in text
    assert "pointmill_uploads_total" in text
    assert "process_resident_memory_bytes" in text


async def test_the_document_is_valid_and_knows_every_route(running: Running) -> None:
    document = (await running.nobody("GET", "/openapi.json")).json
    OpenAPIV31SpecValidator(document).validate()
    served = {(route.method.lower(), route.path) for group in ROUTES for route in group}
    told = {(method, path) for path, item in document["paths"].items() for method in item}
    assert told == served
    identifiers = [
        item["operationId"] for path in document["paths"].values() for item in path.values()
    ]
    assert len(identifiers) == len(set(identifiers))
    for path, item in document["paths"].items():
        for operation in item.values():
            if path.startswith("/v1/signed/"):
                assert {"403", "422", "500", "503"} <= set(operation["responses"])
                continue
            if path.startswith("/v1/sign-in"):  # who comes here has nothing to show yet
                continue
            asked = operation["security"][0]["key"]  # who leaves or changes rooms needs none
            assert len(asked) == 1 or path == "/v1/session", "the role it asks for"
            assert {"401", "422", "500", "503"} <= set(operation["responses"])


async def test_the_messages_are_described_and_the_page_says_where(running: Running) -> None:
    answer = await running.nobody("GET", "/asyncapi.json")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json["asyncapi"] == "3.0.0"
    assert "pointmill.job.requested.v1" in answer.json["components"]["messages"]
    assert b'href="/asyncapi.json"' in (await running.nobody("GET", "/docs")).body
    document = (await running.nobody("GET", "/openapi.json")).json
    assert "(/asyncapi.json)" in document["info"]["description"]


async def test_the_page_asks_nobody_else(running: Running) -> None:
    page = await running.nobody("GET", "/docs")
    assert page.status == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    found = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(found) >= 5
    for address in found:
        assert address.startswith("/")
        assert (await running.nobody("GET", address)).status == 200
    script = await running.nobody("GET", "/docs/start.js")
    assert b"validatorUrl: null" in script.body


async def test_every_declared_problem_is_described(running: Running) -> None:
    page = (await running.nobody("GET", "/docs/problems")).body.decode()
    refused = await running.api("GET", "/v1/nothing")
    anchor = refused.json["type"].removeprefix("/docs/problems#")
    assert f'id="{anchor}"' in page


async def test_unknown_addresses_and_methods_are_problems(running: Running) -> None:
    assert (await running.api("GET", "/v1")).problem == (404, "not_found", [])
    wrong = await running.api("PUT", "/v1/projects")
    assert wrong.problem == (405, "method_not_allowed", [])
    assert wrong.headers["Allow"] == "GET, HEAD, POST"

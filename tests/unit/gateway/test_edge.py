"""What every answer has in common, above all the bad ones."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import generate_latest

from services.gateway.edge import METRICS
from tests.unit.gateway.conftest import Served

Client = TestClient[web.Request, web.Application]


async def test_a_bug_is_told_by_its_request_id_and_nothing_else(client: Client) -> None:
    for how in ("bug", "unlisted"):
        async with client.get(f"/broken/{how}") as response:
            assert response.status == 500
            text = await response.text()
            assert "secret" not in text
            assert "Traceback" not in text
            assert response.headers["X-Request-Id"] in text


async def test_a_missing_database_is_a_503_that_says_when_to_come_back(client: Client) -> None:
    async with client.get("/broken/database") as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"
        assert (await response.json(content_type=None))["code"] == "database_unavailable"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not_found"), ("PATCH", "/samples", 405, "method_not_allowed")],
)
async def test_what_aiohttp_refuses_is_a_problem_too(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    async with client.request(method, path) as response:
        assert response.status == status
        assert response.content_type == "application/problem+json"
        assert (await response.json(content_type=None))["code"] == code
        assert (response.headers.get("Allow") is not None) == (status == 405)


async def test_requests_are_counted_by_route_never_by_path(served: Served) -> None:
    for path in ("/samples/00000000-0000-0000-0000-000000000001", "/nowhere/a", "/nowhere/b"):
        async with served.client.get(path):
            pass
    text = generate_latest(served.app[METRICS].registry).decode()
    assert 'route="/samples/{sample_id}",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"} 2.0' in text
    assert "nowhere" not in text

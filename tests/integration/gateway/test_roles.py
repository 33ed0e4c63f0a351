"""Every route says who may call it, and a viewer changes nothing by any of them."""

from dataclasses import replace

import pytest

from services.gateway.app import ROUTES
from services.gateway.caller import Caller
from services.gateway.roles import Role
from tests.integration.gateway.conftest import Api, Running
from tests.integration.gateway.test_isolation import TICKETED, call, one_of_everything

ROUTES_ALL = [route for group in ROUTES for route in group]
# Whoever reads may also have a link to it signed, look at another workspace, and see when a schedule comes.
HARMLESS = {
    "/v1/schedules/preview",
    "/v1/session",
    "/v1/clouds/{cloud_id}/products/{name}/url",
    "/v1/jobs/{job_id}/products/{name}/url",
}
# They go on until they are ended, and only read.
STREAMS = {"/v1/live", "/v1/events", "/v1/jobs/{job_id}/events"}
# What changes by itself: heartbeats, and messages that the relay takes away.
RESTLESS = {"service_instances", "outbox"}


@pytest.fixture(scope="module")
async def viewer(running: Running) -> Api:
    made = await running.api.make("/v1/keys", name="a viewer", role="viewer")
    return replace(running.api, key=made["key"])


async def contents(running: Running) -> dict[str, str]:
    """A sum over all rows of each table."""
    async with running.database.connected() as connection:
        tables = await connection.fetch(
            "select relname from pg_class where relkind = 'r'"
            " and relnamespace = 'public'::regnamespace"
        )
        return {
            name: await connection.fetchval(
                f"select md5(string_agg(t::text, ',' order by t::text)) from {name} t"  # noqa: S608
            )
            for (name,) in tables
            if name not in RESTLESS
        }


async def test_a_viewer_changes_nothing_by_any_route(running: Running, viewer: Api) -> None:
    """Every route there is, with ids that are right: those of tomorrow are walked by themselves."""
    ours = await one_of_everything(running, running.api)
    await viewer("GET", "/v1/kinds")
    before = await contents(running)
    for route in ROUTES_ALL:
        if route.path in STREAMS or (route.method, route.path) in TICKETED:
            continue
        answer = await call(viewer, route.method, route.path, ours)
        told = f"{route.method} {route.path} answered {answer.status}"
        if route.signature.role in {None, Role.VIEWER}:
            continue  # what it did shows in the tables
        assert answer.status == 403, told
        assert answer.json["code"] in {"role_too_low", "operators_only"}, told
    assert await contents(running) == before


def test_every_route_names_a_role_of_its_own() -> None:
    """`Caller` alone would be an oversight."""
    for route in ROUTES_ALL:
        asks = [getattr(one, "__self__", None) for _, one in route.signature.fetch]
        assert Caller not in asks, f"{route.method} {route.path}: say Viewer, Editor or Admin"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_changes_something_is_not_a_viewers(method: str) -> None:
    open_to_viewers = {
        route.path
        for route in ROUTES_ALL
        if route.method == method and route.signature.role in {None, Role.VIEWER}
    }
    assert open_to_viewers <= HARMLESS, "does it really change nothing?"


async def test_the_document_says_which_role_an_operation_needs(api: Api) -> None:
    document = (await api("GET", "/openapi.json")).json
    operation = document["paths"]["/v1/projects"]["post"]
    assert operation["security"] == [{"key": ["editor"]}, {"session": ["editor"]}]
    assert "Needs the role `editor`." in operation["description"]
    assert "`role_too_low`" in operation["responses"]["403"]["description"]
    paused = document["paths"]["/v1/kinds/{kind}"]["patch"]
    assert paused["security"] == [{"key": ["operator"]}]

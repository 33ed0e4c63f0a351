"""What concerns every workspace is done with an operator's key, and with no other."""

import re

import pytest

from services.gateway.app import ROUTES
from services.gateway.problems import OPERATORS_ONLY
from tests.integration.gateway.conftest import Running

OPERATIONS = sorted(
    (route.method, re.sub(r"\{\w+\}", "00000000-0000-7000-8000-000000000009", route.path))
    for group in ROUTES
    for route in group
    if OPERATORS_ONLY in route.signature.problems
)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_a_key_that_is_no_operators_is_refused(
    running: Running, method: str, path: str
) -> None:
    """Before anything else is looked at: not even whether the body is right."""
    assert (await running.other(method, path)).problem == (403, "operators_only", [])


async def test_a_key_becomes_an_operators_and_is_one_no_more(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.keys.REMEMBERED_SECONDS", 0)
    headers = {"Authorization": f"Bearer pm_abcd0123_{'b' * 48}"}
    async with running.database.connected() as connection:
        await connection.execute(
            "insert into api_keys (id, workspace_id, name, secret_sha256)"
            " select 'abcd0123', id, 'night shift', sha256(repeat('b', 48)::bytea) from workspaces"
            " where name = 'other'"
        )
        for operator, status in ((False, 403), (True, 200), (False, 403)):
            await connection.execute(
                "update api_keys set operator = $1 where id = 'abcd0123'", operator
            )
            answer = await running.nobody("GET", "/v1/instances", headers=headers)
            assert answer.status == status


async def test_the_instances_show_what_each_process_accepts(running: Running) -> None:
    async with running.database.connected("processor") as connection:
        await connection.execute(
            "insert into service_instances (instance, service, version, accepts, kinds) values"
            " ('processor-x', 'processor', '1.2', '{pointmill.job.requested.v1}', '{demo.print}')"
        )
    found = (await running.api("GET", "/v1/instances")).json["items"]
    ours = next(one for one in found if one["service"] == "gateway")
    assert "pointmill.job.progress.v1" in ours["accepts"]
    shown = next(one for one in found if one["instance"] == "processor-x")
    assert shown["accepts"] == ["pointmill.job.requested.v1"]
    assert (shown["service"], shown["version"], shown["kinds"]) == (
        "processor",
        "1.2",
        ["demo.print"],
    )

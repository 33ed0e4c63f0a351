"""API keys are made, used, rotated and revoked over HTTP; their secrets are told once and never kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway.routes import keys
from tests.integration.gateway.conftest import Api, Running


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.keys.REMEMBERED_SECONDS", 0)


async def make(api: Api, **fields: Any) -> tuple[Any, Api]:
    """A new key, and a client that uses it."""
    made = await api.make("/v1/keys", **{"name": "a script", "role": "editor", **fields})
    return made, replace(api, key=made["key"])


async def test_a_key_opens_what_its_role_allows_and_nothing_else(api: Api) -> None:
    expected = {"viewer": (200, 403, 403), "editor": (200, 201, 403), "admin": (200, 201, 200)}
    for role, statuses in expected.items():
        _, client = await make(api, role=role)
        answers = (
            await client("GET", "/v1/projects"),
            await client("POST", "/v1/projects", json={"name": f"of a {role}"}),
            await client("GET", "/v1/keys"),
        )
        assert tuple(answer.status for answer in answers) == statuses
        for answer in answers:
            if answer.status == 403:
                assert answer.problem == (403, "role_too_low", [])


async def test_a_keys_secret_is_told_once_and_only_its_hash_is_kept(
    running: Running, api: Api
) -> None:
    made, _ = await make(api)
    secret = made["key"].split("_")[2]
    for answer in (await api("GET", "/v1/keys"), await api("GET", f"/v1/keys/{made['id']}")):
        assert made["id"] in answer.body.decode()
        assert secret not in answer.body.decode()
    async with running.database.connected() as connection:
        kept = await connection.fetchval("select string_agg(k::text, ' ') from api_keys k")
    assert secret not in kept


async def test_a_rotated_key_opens_with_both_secrets_until_the_grace_is_over(
    running: Running, api: Api
) -> None:
    made, old = await make(api)
    rotated = await api("POST", f"/v1/keys/{made['id']}/rotate", json={"grace_seconds": 600})
    assert rotated.status == 200
    new = replace(api, key=rotated.json["key"])
    assert [(await one("GET", "/v1/kinds")).status for one in (old, new)] == [200, 200]
    async with running.database.connected() as connection:
        await connection.execute(
            "update api_keys set previous_until = now() where id = $1", made["id"]
        )
    assert [(await one("GET", "/v1/kinds")).status for one in (old, new)] == [401, 200]
    await api("POST", f"/v1/keys/{made['id']}/rotate", json={"grace_seconds": 0})
    assert [(await one("GET", "/v1/kinds")).status for one in (old, new)] == [401, 401]


async def test_a_revoked_key_is_shown_and_opens_nothing(api: Api) -> None:
    made, client = await make(api)
    path = f"/v1/keys/{made['id']}"
    assert (await client("GET", "/v1/kinds")).status == 200
    assert [(await api("DELETE", path)).status for _ in range(2)] == [204, 204]
    assert (await client("GET", "/v1/kinds")).problem == (401, "unauthorized", [])
    assert (await api("GET", path)).json["revoked_at"] is not None
    answer = await api("POST", f"{path}/rotate", json={})
    assert answer.problem == (409, "key_not_in_force", [])


async def test_an_expired_key_opens_nothing(running: Running, api: Api) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    made, client = await make(api, expires_at=soon.isoformat())
    assert (await client("GET", "/v1/kinds")).status == 200
    async with running.database.connected() as connection:
        await connection.execute("update api_keys set expires_at = now() where id = $1", made["id"])
    assert (await client("GET", "/v1/kinds")).status == 401


async def test_the_last_use_is_noted_by_the_minute_not_by_the_request(
    running: Running, api: Api
) -> None:
    made, client = await make(api)
    path = f"/v1/keys/{made['id']}"
    await client("GET", "/v1/kinds")
    assert (await api("GET", path)).json["last_used_at"] is None
    await running.gateway.keys.note_uses()
    assert (await api("GET", path)).json["last_used_at"] is not None


async def test_an_admin_does_not_become_an_operator(running: Running, other: Api) -> None:
    """Neither by making an operator's key nor by taking one over."""
    order = {"name": "more", "role": "admin", "operator": True}
    answer = await other("POST", "/v1/keys", json=order)
    assert answer.problem == (403, "operators_only", ["operator"])
    async with running.database.connected() as connection:
        await connection.execute(
            "insert into api_keys (id, workspace_id, name, secret_sha256, operator)"
            " select '0fe7a704', id, 'theirs', sha256('x'), true from workspaces where name = 'other'"
        )
    for method, path in (("POST", "/v1/keys/0fe7a704/rotate"), ("DELETE", "/v1/keys/0fe7a704")):
        answer = await other(method, path, json={} if method == "POST" else None)
        assert answer.problem == (403, "operators_only", [])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": ""}, (422, "invalid_request", ["name"])),
        ({"role": "owner"}, (422, "invalid_request", ["role"])),
        ({"expires_at": "2001-01-01T00:00:00Z"}, (422, "time_passed", ["expires_at"])),
        ({"expires_at": "2001-01-01T00:00:00"}, (422, "invalid_request", ["expires_at"])),
    ],
)
async def test_a_key_that_cannot_be_is_refused(api: Api, fields: Any, problem: Any) -> None:
    order = {"name": "a script", "role": "editor", **fields}
    assert (await api("POST", "/v1/keys", json=order)).problem == problem


async def test_a_workspace_has_only_so_many_keys(
    other: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST_KEYS", 1)
    answer = await other("POST", "/v1/keys", json={"name": "one more", "role": "viewer"})
    assert answer.problem == (409, "too_many_keys", [])

"""Members come, change and go, but the last admin does not."""

import asyncio
from typing import Any

import pytest

from tests.integration.gateway.conftest import Api, Running


@pytest.fixture(autouse=True)
async def _nobody(running: Running) -> None:
    async with running.database.connected() as connection:
        await connection.execute("delete from members")


async def add(api: Api, name: str, role: str) -> Any:
    return await api.make("/v1/members", name=name, email=f"{name}@Example.org", role=role)


async def test_a_member_is_added_changed_listed_and_removed(api: Api) -> None:
    ada = await add(api, "ada", "viewer")
    assert (ada["email"], ada["role"], ada["notify_by_mail"]) == ("ada@example.org", "viewer", True)
    path = f"/v1/members/{ada['id']}"
    changed = await api("PATCH", path, json={"role": "editor", "notify_by_mail": False})
    assert (changed.json["role"], changed.json["notify_by_mail"]) == ("editor", False)
    assert changed.json["name"] == "ada"
    assert (await api("GET", path)).json == changed.json
    assert (await api("GET", "/v1/members")).json["items"] == [changed.json]
    assert (await api("DELETE", path)).status == 204
    assert (await api("GET", path)).problem == (404, "member_not_found", [])


async def test_an_address_is_one_members_however_it_is_written(api: Api) -> None:
    await add(api, "ada", "viewer")
    order = {"name": "Ada", "email": "ADA@example.org", "role": "admin"}
    answer = await api("POST", "/v1/members", json=order)
    assert answer.problem == (409, "member_exists", ["email"])


async def test_the_last_admin_stays(api: Api) -> None:
    ada = await add(api, "ada", "admin")
    await add(api, "bob", "editor")
    path = f"/v1/members/{ada['id']}"
    for answer in (await api("DELETE", path), await api("PATCH", path, json={"role": "viewer"})):
        assert answer.problem == (409, "last_admin", [])
    assert (await api("PATCH", path, json={"role": "admin", "name": "Ada"})).status == 200
    await add(api, "eve", "admin")
    assert (await api("DELETE", path)).status == 204


async def test_two_admins_who_remove_each_other_at_once_leave_one(
    running: Running, api: Api
) -> None:
    for _ in range(5):
        pair = [await add(api, name, "admin") for name in ("ada", "eve")]
        answers = await asyncio.gather(*(api("DELETE", f"/v1/members/{one['id']}") for one in pair))
        assert sorted(answer.status for answer in answers) == [204, 409]
        async with running.database.connected() as connection:
            await connection.execute("delete from members")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"email": "a@b@c"}, "email"),
        ({"role": "owner"}, "role"),
        ({"name": "\u202eada"}, "name"),
    ],
)
async def test_a_member_who_cannot_be_is_refused(api: Api, fields: Any, field: str) -> None:
    order = {"name": "ada", "email": "ada@example.org", "role": "viewer", **fields}
    answer = await api("POST", "/v1/members", json=order)
    assert answer.problem == (422, "invalid_request", [field])

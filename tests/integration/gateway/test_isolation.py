"""A workspace sees nothing of another's, whatever the route; and nobody sees anything without a key."""

import re
import uuid
from typing import Any

import pytest

from services.gateway.app import ROUTES
from tests.integration.gateway.conftest import Api, Running

OPERATIONS = sorted((route.method, route.path) for group in ROUTES for route in group)
# A ticket in the address stands for the key.
TICKETED = {
    ("GET", "/v1/signed/{ticket}/{name}"),
    ("GET", "/v1/signed/{ticket}/{name}/{member}"),
}
BODIES: dict[tuple[str, str], Any] = {
    ("PATCH", "/v1/projects/{project_id}"): {"name": "stolen"},
    ("PATCH", "/v1/clouds/{cloud_id}"): {"name": "stolen"},
    ("POST", "/v1/dead-letters/{letter_id}/discard"): {"reason": "none"},
    ("POST", "/v1/dead-letters/{letter_id}/mend"): {
        "message": {
            "specversion": "1.0",
            "id": "1",
            "source": "/x",
            "type": "pointmill.job.requested.v1",
            "data": {"kind": "demo.print"},
        }
    },
    ("POST", "/v1/clouds/{cloud_id}/upload-session"): {"name": "a.laz", "bytes": 1},
    ("POST", "/v1/clouds/{cloud_id}/upload-session/complete"): {
        "session": "0" * 32,
        "name": "a.laz",
        "bytes": 1,
        "crc32c": "0" * 8,
    },
    ("POST", "/v1/keys/{key_id}/rotate"): {},
    ("PATCH", "/v1/members/{member_id}"): {"role": "admin"},
    ("PATCH", "/v1/workspaces/{workspace_id}"): {"weight": 2},
    ("POST", "/v1/jobs/{job_id}/products/{name}/url"): {},
    ("POST", "/v1/clouds/{cloud_id}/products/{name}/url"): {},
    ("PATCH", "/v1/schedules/{schedule_id}"): {"name": "stolen", "params": {}},
}


async def one_of_everything(running: Running, api: Api) -> dict[str, str]:
    """One of everything in the workspace of this key: what the paths of the routes may name."""
    project = await api.make("/v1/projects", name="theirs")
    cloud = (await api("POST", f"/v1/clouds?name=t.laz&project={project['id']}", data=b"x")).json
    webhook = await api.make("/v1/webhooks", url="https://example.org/theirs")
    schedule = await api.make(
        "/v1/schedules", name="theirs", kind="demo.print", params={"first": "a"}, cron="0 0 1 1 *"
    )
    member = await api.make(
        "/v1/members", name="Theirs", email=f"{uuid.uuid4().hex}@example.org", role="viewer"
    )
    key = await api.make("/v1/keys", name="theirs", role="viewer")
    return {
        "project_id": project["id"],
        "cloud_id": cloud["cloud"]["id"],
        "job_id": cloud["job"]["id"],
        "webhook_id": webhook["id"],
        "schedule_id": schedule["id"],
        "key_id": key["id"],
        "member_id": member["id"],
        "workspace_id": str(uuid.uuid4()),  # as below
        "letter_id": str(uuid.uuid4()),  # of no workspace; the keys here are an operator's
        "name": "copc",
        "member": "tileset.json",
        "kind": "demo.print",
    }


@pytest.fixture(scope="module")
async def theirs(running: Running) -> dict[str, str]:
    """One of everything, in the other workspace."""
    return await one_of_everything(running, running.other)


def fill(path: str, values: dict[str, str]) -> str:
    """The path of something that is there; a new sort of thing must first be made above."""
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)


async def call(api: Api, method: str, path: str, values: dict[str, str]) -> Any:
    body = BODIES.get((method, path))
    if body is not None:
        return await api(method, fill(path, values), json=body)
    suffix = "?name=a.laz" if path.endswith("/file") else ""
    return await api(
        method, fill(path, values) + suffix, data=b"x" if suffix else None, allow_redirects=False
    )


@pytest.mark.parametrize(
    ("method", "path"), [one for one in OPERATIONS if re.search(r"\{\w+_id\}", one[1])]
)
async def test_what_belongs_to_another_is_not_there(
    running: Running, theirs: dict[str, str], method: str, path: str
) -> None:
    """The same answer as for what does not exist at all."""
    theirs_asked = await call(running.api, method, path, theirs)
    nothing = {name: str(uuid.UUID(int=9)) for name in theirs} | {"name": "copc", "key_id": "0" * 8}
    nothing_asked = await call(running.api, method, path, nothing)
    assert theirs_asked.status == 404
    assert theirs_asked.problem == nothing_asked.problem


@pytest.mark.parametrize("path", [one[1] for one in OPERATIONS if one[0] == "GET"])
async def test_a_list_holds_nothing_of_another(
    running: Running, theirs: dict[str, str], path: str
) -> None:
    known = {"/v1/kinds", "/v1/live", "/v1/events"}  # streams: test_live.py
    if "{" in path or path in known or path.startswith("/v1/sign-in"):
        return
    answer = await running.api("GET", path)
    assert answer.status == 200
    for name, value in theirs.items():
        if name.endswith("_id"):
            assert value not in answer.body.decode()


async def test_another_cannot_be_named_in_an_order(
    running: Running, theirs: dict[str, str]
) -> None:
    api, project, cloud = running.api, theirs["project_id"], theirs["cloud_id"]
    mine = await api.make("/v1/clouds", name="mine")
    for answer in (
        await api("POST", "/v1/clouds", json={"name": "a", "project": project}),
        await api("POST", f"/v1/clouds?name=a.laz&project={project}", data=b"x"),
        await api("PATCH", f"/v1/clouds/{mine['id']}", json={"project": project}),
    ):
        assert answer.problem == (404, "project_not_found", ["project"])
    order = {"kind": "file.checksum", "cloud": cloud}
    assert (await api("POST", "/v1/jobs", json=order)).problem == (
        404,
        "cloud_not_found",
        ["cloud"],
    )


async def test_an_idempotency_key_is_a_workspaces_own(running: Running) -> None:
    headers = {"Idempotency-Key": "shared"}
    order = {"kind": "demo.print", "params": {"first": "a"}}
    answers = [
        await api("POST", "/v1/jobs", json=order, headers=headers)
        for api in (running.api, running.other)
    ]
    assert answers[0].json["id"] != answers[1].json["id"]


def test_what_needs_no_key_is_known() -> None:
    open_to_all = {
        (route.method, route.path)
        for group in ROUTES
        for route in group
        if not route.signature.secured
    }
    sign_in = {("GET", "/v1/sign-in"), ("GET", "/v1/sign-in/callback")}
    assert open_to_all == sign_in | set(TICKETED)


@pytest.mark.parametrize(
    ("method", "path"),
    [one for one in OPERATIONS if one not in TICKETED and not one[1].startswith("/v1/sign-in")],
)
async def test_nothing_is_answered_without_a_key(
    running: Running, theirs: dict[str, str], method: str, path: str
) -> None:
    answer = await call(running.nobody, method, path, theirs)
    assert answer.problem == (401, "unauthorized", [])
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), sorted(TICKETED))
async def test_a_key_is_no_ticket(running: Running, method: str, path: str) -> None:
    answer = await running.api(
        method, fill(path, {"ticket": running.api.key or "", "name": "a", "member": "b"})
    )
    assert answer.problem == (403, "ticket_invalid", [])


@pytest.mark.parametrize("change", ["secret", "id", "form", "scheme", "long", "control"])
async def test_a_key_that_is_not_right_is_no_key(running: Running, change: str) -> None:
    key = running.api.key or ""
    wrong = {
        "secret": f"Bearer {key[:-1]}{'0' if key[-1] != '0' else '1'}",
        "id": f"Bearer pm_00000000_{key[12:]}",
        "form": f"Bearer {key}0",
        "scheme": f"Basic {key}",
        "long": "Bearer " + "a" * 8000,
        "control": f"Bearer {key}ä",
    }[change]
    answer = await running.nobody("GET", "/v1/projects", headers={"Authorization": wrong})
    assert answer.problem == (401, "unauthorized", [])


async def test_a_revoked_key_stops_working(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.keys.REMEMBERED_SECONDS", 0)
    async with running.database.connected() as connection:
        await connection.execute(
            "insert into api_keys (id, workspace_id, name, secret_sha256)"
            " select '0123abcd', id, 'short', sha256(repeat('a', 48)::bytea) from workspaces"
            " where name = 'default'"
        )
        headers = {"Authorization": f"Bearer pm_0123abcd_{'a' * 48}"}
        assert (await running.nobody("GET", "/v1/kinds", headers=headers)).status == 200
        for change in (
            "update api_keys set revoked_at = now() where id = '0123abcd'",
            "update api_keys set revoked_at = null, expires_at = now() where id = '0123abcd'",
        ):
            await connection.execute(change)
            assert (await running.nobody("GET", "/v1/kinds", headers=headers)).status == 401

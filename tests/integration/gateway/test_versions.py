"""ETag, If-Match, If-None-Match and merge patches, over every single thing there is."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.integration.gateway.conftest import OTHER_WORKSPACE, Api, Running

PRINT = {"kind": "demo.print", "params": {"first": "a", "second": 1}}
PATCH_JSON = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
async def things(running: Running) -> dict[str, str]:
    """A path of each."""
    api, mark = running.api, uuid.uuid4().hex
    schedule = {"name": mark, **PRINT, "cron": "0 0 1 1 *"}
    paths = {
        "project": ("/v1/projects", {"name": mark}),
        "cloud": ("/v1/clouds", {"name": mark}),
        "schedule": ("/v1/schedules", schedule),
        "webhook": ("/v1/webhooks", {"url": "https://example.org/"}),
        "job": ("/v1/jobs", PRINT),
    }
    made = {
        what: f"{path}/{(await api.make(path, **body))['id']}"
        for what, (path, body) in paths.items()
    }
    return {**made, "kind": "/v1/kinds/demo.print", "workspace": f"/v1/workspaces/{OTHER_WORKSPACE}"}  # fmt: skip


THINGS = ["project", "cloud", "schedule", "webhook", "job", "kind", "workspace"]
CHANGES: dict[str, dict[str, Any]] = {
    "project": {"description": "changed"},
    "cloud": {"description": "changed"},
    "schedule": {"priority": 7},
    "kind": {"starts_per_minute": 1000},
    "workspace": {"max_running": 77},
}


@pytest.mark.parametrize("what", THINGS)
async def test_what_is_known_already_is_not_sent_again(
    api: Api, things: dict[str, str], what: str
) -> None:
    first = await api("GET", things[what])
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await api("GET", things[what], headers={"If-None-Match": known})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    other = await api("GET", things[what], headers={"If-None-Match": '"other"'})
    assert (other.status, other.headers["ETag"]) == (200, tag)


@pytest.mark.parametrize("what", CHANGES)
async def test_a_change_holds_only_for_what_was_read(
    api: Api, things: dict[str, str], what: str
) -> None:
    path, change = things[what], CHANGES[what]
    first = (await api("GET", path)).headers["ETag"]
    changed = await api("PATCH", path, json=change, headers={"If-Match": first})
    assert changed.status == 200, changed.body
    second = changed.headers["ETag"]
    assert second != first
    assert (await api("GET", path)).headers["ETag"] == second
    for stale in (first, '"something-else"', f"W/{second}", '""'):
        late = await api("PATCH", path, json=change, headers={"If-Match": stale})
        assert late.problem == (412, "precondition_failed", [])
    anyhow = await api("PATCH", path, json=change, headers={"If-Match": "*"})
    assert anyhow.status == 200
    malformed = await api("PATCH", path, json=change, headers={"If-Match": "v1"})
    assert malformed.problem == (422, "invalid_request", ["If-Match"])
    gone = f"{path.rpartition('/')[0]}/{uuid.UUID(int=9)}"
    assert (await api("PATCH", gone, json=change, headers={"If-Match": "*"})).status == 404


@pytest.mark.parametrize("what", ["project", "cloud", "schedule"])
async def test_what_somebody_has_changed_is_not_deleted(api: Api, what: str) -> None:
    path, body = {
        "project": ("/v1/projects", {"name": uuid.uuid4().hex}),
        "cloud": ("/v1/clouds", {"name": "a"}),
        "schedule": ("/v1/schedules", {"name": uuid.uuid4().hex, **PRINT, "cron": "0 0 1 1 *"}),
    }[what]
    made = await api("POST", path, json=body)
    one, first = f"{path}/{made.json['id']}", made.headers["ETag"]
    await api("PATCH", one, json={"name": uuid.uuid4().hex})
    stale = await api("DELETE", one, headers={"If-Match": first})
    assert stale.problem == (412, "precondition_failed", [])
    current = (await api("GET", one)).headers["ETag"]
    assert (await api("DELETE", one, headers={"If-Match": current})).status == 204
    assert (await api("DELETE", one, headers={"If-Match": "*"})).status == 404


async def test_a_schedule_is_paused_and_resumed_as_it_was_read(
    api: Api, things: dict[str, str]
) -> None:
    path = things["schedule"]
    first = (await api("GET", path)).headers["ETag"]
    paused = await api("POST", f"{path}/pause", headers={"If-Match": first})
    assert paused.status == 200
    late = await api("POST", f"{path}/resume", headers={"If-Match": first})
    assert late.problem == (412, "precondition_failed", [])
    resumed = await api("POST", f"{path}/resume", headers={"If-Match": paused.headers["ETag"]})
    assert resumed.status == 200


async def test_a_cloud_that_changes_by_itself_is_another_answer_but_not_another_version(
    api: Api,
) -> None:
    made = await api.make("/v1/clouds", name="itself.laz")
    path = f"/v1/clouds/{made['id']}"
    await api("PUT", f"{path}/file", data=b"LASF")
    stored = (await api("GET", path)).headers["ETag"]
    await api.make("/v1/jobs", kind="pointcloud.ingest", cloud=made["id"])
    later = await api("GET", path, headers={"If-None-Match": stored})
    assert later.status == 200, "another job is its latest"
    change = {"description": "still the same version"}
    assert (await api("PATCH", path, json=change, headers={"If-Match": stored})).status == 200


@pytest.mark.parametrize(
    ("path", "document"), [("/v1/clouds", "properties"), ("/v1/projects", "config")]
)
async def test_a_json_document_is_merged(api: Api, path: str, document: str) -> None:
    before = {"keep": 1, "change": {"a": 1, "b": [1, 2]}, "drop": "x"}
    made = await api.make(path, **{"name": uuid.uuid4().hex, "description": "d", document: before})
    one = f"{path}/{made['id']}"
    patch = {document: {"change": {"a": 2, "b": [3]}, "drop": None, "new": {"x": {"y": None}}}}
    changed = await api("PATCH", one, json=patch, headers=PATCH_JSON)
    merged = {"keep": 1, "change": {"a": 2, "b": [3]}, "new": {"x": {}}}
    assert changed.json[document] == merged
    emptied = await api(
        "PATCH", one, json={document: None, "description": None}, headers=PATCH_JSON
    )
    assert (emptied.json[document], emptied.json["description"]) == ({}, "")
    kept = await api("PATCH", one, json={"name": None})
    assert kept.problem == (422, "invalid_request", ["name"])


async def test_changes_at_once_are_all_merged(api: Api) -> None:
    made = await api.make("/v1/clouds", name="at once")
    path = f"/v1/clouds/{made['id']}"
    answers = await asyncio.gather(
        *(api("PATCH", path, json={"properties": {f"k{number}": number}}) for number in range(8))
    )
    assert {answer.status for answer in answers} == {200}
    found = (await api("GET", path)).json["properties"]
    assert found == {f"k{number}": number for number in range(8)}


async def test_what_many_patches_pile_up_is_bounded(api: Api) -> None:
    made = await api.make("/v1/projects", name=uuid.uuid4().hex, config={"a": "x" * 600_000})
    path = f"/v1/projects/{made['id']}"
    more = await api("PATCH", path, json={"config": {"b": "x" * 600_000}})
    assert more.problem == (422, "invalid_request", ["config"])
    assert list((await api("GET", path)).json["config"]) == ["a"]


async def test_the_params_of_a_schedule_are_merged_and_checked(
    api: Api, things: dict[str, str]
) -> None:
    path = things["schedule"]
    changed = await api("PATCH", path, json={"params": {"second": None}})
    assert changed.json["params"] == {"first": "a"}
    refused = await api("PATCH", path, json={"params": {"first": None}})
    assert refused.problem == (422, "invalid_request", ["params.first"])


async def test_work_that_begins_says_where_to_look_and_when(running: Running) -> None:
    api = running.api
    made = await api("POST", "/v1/jobs", json=PRINT)
    cancelled = await api("POST", f"{made.headers['Location']}/cancel")
    retried = await api("POST", f"{made.headers['Location']}/retry")
    batch = await api("POST", "/v1/jobs/cancel", json={"kind": "demo.print"})
    for answer in (made, cancelled, retried, batch):
        assert answer.status == 202
        assert answer.headers["Location"].startswith("/v1/jobs")
        assert int(answer.headers["Retry-After"]) >= 1
    assert cancelled.headers["Location"] == made.headers["Location"]

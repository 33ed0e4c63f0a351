"""Projects over HTTP, on real Postgres."""

import asyncio
import uuid

import pytest

from tests.integration.gateway.conftest import Api

ZERO = uuid.UUID(int=0)


async def test_a_project_is_made_read_changed_and_deleted(api: Api) -> None:
    made = await api(
        "POST", "/v1/projects", json={"name": "one", "config": {"a": [1, {"b": None}]}}
    )
    assert made.status == 201
    project = made.json
    assert made.headers["Location"] == f"/v1/projects/{project['id']}"
    assert uuid.UUID(project["id"]).version == 7
    path = made.headers["Location"]
    assert (await api("GET", path)).json == project
    changed = await api("PATCH", path, json={"description": "nice", "config": {"a": None}})
    assert changed.status == 200
    assert changed.json["name"] == "one"
    assert (changed.json["description"], changed.json["config"]) == ("nice", {})
    assert changed.json["version"] == project["version"] + 1
    assert (await api("DELETE", path)).status == 204
    assert (await api("GET", path)).problem == (404, "project_not_found", [])
    assert (await api("DELETE", path)).problem == (404, "project_not_found", [])
    assert (await api("PATCH", path, json={})).problem == (404, "project_not_found", [])


async def test_a_name_is_taken_once_however_many_ask(api: Api) -> None:
    answers = await asyncio.gather(
        *(api("POST", "/v1/projects", json={"name": "wanted"}) for _ in range(8))
    )
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7
    lost = next(answer for answer in answers if answer.status == 409)
    assert lost.problem == (409, "project_name_taken", ["name"])
    mine = await api.make("/v1/projects", name="mine")
    renamed = await api("PATCH", f"/v1/projects/{mine['id']}", json={"name": "wanted"})
    assert renamed.problem == (409, "project_name_taken", ["name"])


async def test_a_change_of_an_old_version_is_refused(api: Api) -> None:
    made = await api("POST", "/v1/projects", json={"name": "versioned"})
    path, first = made.headers["Location"], made.headers["ETag"]
    changed = await api("PATCH", path, json={"description": "a"}, headers={"If-Match": first})
    assert changed.status == 200
    assert changed.headers["ETag"] != first
    late = await api("PATCH", path, json={"description": "b"}, headers={"If-Match": first})
    assert late.problem == (412, "precondition_failed", [])
    assert (await api("GET", path)).json["description"] == "a"


async def test_a_project_with_clouds_stays(api: Api) -> None:
    project = await api.make("/v1/projects", name="full")
    cloud = await api.make("/v1/clouds", name="inside", project=project["id"])
    path = f"/v1/projects/{project['id']}"
    assert (await api("DELETE", path)).problem == (409, "project_not_empty", [])
    moved = await api("PATCH", f"/v1/clouds/{cloud['id']}", json={"project": None})
    assert moved.json["project"] is None
    assert (await api("DELETE", path)).status == 204


async def test_a_list_is_read_to_its_end_part_by_part(api: Api) -> None:
    for number in range(7):
        await api.make("/v1/projects", name=f"listed {number}")
    seen: list[str] = []
    cursor = ""
    while True:
        part = (await api("GET", f"/v1/projects?limit=3{cursor}")).json
        assert len(part["items"]) <= 3
        seen += [item["name"] for item in part["items"]]
        if part["next"] is None:
            break
        cursor = f"&cursor={part['next']}"
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name.startswith("listed")] == [
        f"listed {number}" for number in reversed(range(7))
    ]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "_" * 32, "7" * 32])
async def test_a_made_up_cursor_is_refused_or_harmless(api: Api, cursor: str) -> None:
    answer = await api("GET", f"/v1/projects?cursor={cursor}")
    assert answer.status == 200 or answer.problem == (422, "invalid_cursor", ["cursor"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a\x00"}, "name"),
        ({"name": "a", "description": "\x00"}, "description"),
        ({"name": "a", "config": {"k": "\x00"}}, "config"),
        ({"name": "a", "config": [1]}, "config"),
        ({"name": "x" * 201}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "a", "owner": "me"}, "owner"),
    ],
)
async def test_what_postgres_cannot_hold_is_refused_by_name(
    api: Api, body: dict[str, object], field: str
) -> None:
    assert (await api("POST", "/v1/projects", json=body)).problem == (
        422,
        "invalid_request",
        [field],
    )


async def test_broken_json_makes_nothing(api: Api) -> None:
    answer = await api(
        "POST", "/v1/projects", data=b'{"name": "half', headers={"Content-Type": "application/json"}
    )
    assert answer.problem == (400, "malformed_json", ["body"])


async def test_odd_texts_come_back_as_they_were(api: Api) -> None:
    config = {"__proto__": 1, "": "ä😀", "big": 2**53 + 1, "$": "{{7*7}}", "deep": [[[[]]]]}
    made = await api.make("/v1/projects", name="'; drop table jobs; --", config=config)
    assert made["name"] == "'; drop table jobs; --"
    assert made["config"] == config

"""Lists: in the order that is asked for, filtered, followed by Link, and by an index where it matters."""

import json
import re
import uuid
from typing import Any

import pytest

from tests.integration.gateway.conftest import Api, Running

NAMES = ["ä", "a", "Z", "a b", "zz", "aé" * 90, "b"]


async def follow(api: Api, path: str) -> list[Any]:
    """All items of a list, read by its Link headers alone."""
    items: list[Any] = []
    while path:
        part = await api("GET", path)
        assert part.status == 200, part.body
        items += part.json["items"]
        link = part.headers.get("Link", "")
        assert bool(link) == (part.json["next"] is not None)
        found = re.fullmatch(r'<(/[^<>" ]*)>; rel="next"', link)
        assert bool(found) == bool(link)
        path = found[1] if found else ""
    return items


@pytest.fixture(scope="module")
async def project(running: Running) -> str:
    """A project of clouds with these names, made in this order."""
    made = await running.api.make("/v1/projects", name="lists")
    for number, name in enumerate(NAMES):
        await running.api.make(
            "/v1/clouds", name=name, project=made["id"],
            properties={"number": number, "survey": {"year": 2020 + number % 2, "by": ["x", name]}},
        )  # fmt: skip
    return str(made["id"])


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("created_at", NAMES),
        ("-created_at", NAMES[::-1]),
        ("name", sorted(NAMES)),
        ("-name", sorted(NAMES)[::-1]),
    ],
)
async def test_clouds_come_in_the_order_that_is_asked_for(
    running: Running, project: str, sort: str, expected: list[str]
) -> None:
    items = await follow(running.api, f"/v1/clouds?project={project}&sort={sort}&limit=2")
    assert [item["name"] for item in items] == expected


@pytest.mark.parametrize("path", ["/v1/projects", "/v1/schedules", "/v1/jobs"])
async def test_other_lists_too_can_be_turned_round(api: Api, path: str) -> None:
    print_a = {"kind": "demo.print", "params": {"first": "a"}}
    for name in ("turn b", "turn a", "turn c"):
        await api.make("/v1/jobs", **print_a)
        if path != "/v1/jobs":
            extra = {**print_a, "cron": "0 0 1 1 *"} if path == "/v1/schedules" else {}
            await api.make(path, name=name, **extra)
    forth = [item["id"] for item in await follow(api, f"{path}?limit=2&sort=created_at")]
    back = [item["id"] for item in await follow(api, f"{path}?limit=2")]
    assert forth == back[::-1]
    assert len(forth) >= 3
    if path != "/v1/jobs":
        named = [item["name"] for item in await follow(api, f"{path}?limit=2&sort=name")]
        assert named == sorted(named)
        assert {"turn a", "turn b", "turn c"} <= set(named)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"number": 3}, [3]),
        ({"survey": {"year": 2021}}, [1, 3, 5]),
        ({"survey": {"by": ["zz"]}}, [4]),
        ({"number": "3"}, []),
    ],
)
async def test_clouds_are_found_by_what_their_properties_contain(
    running: Running, project: str, wanted: Any, numbers: list[int]
) -> None:
    query = {"project": project, "properties": json.dumps(wanted), "sort": "created_at", "limit": 2}
    first = await running.api("GET", "/v1/clouds", params=query)
    found = first.json["items"]
    if "Link" in first.headers:
        found += await follow(running.api, first.headers["Link"].partition(">")[0][1:])
    assert [item["properties"]["number"] for item in found] == numbers


async def test_projects_are_found_by_name_and_by_what_their_config_contains(api: Api) -> None:
    mark = uuid.uuid4().hex
    made = await api.make("/v1/projects", name=f"found {mark}", config={"mark": [mark]})
    by_config = await api("GET", "/v1/projects", params={"config": json.dumps({"mark": [mark]})})
    by_name = await api("GET", "/v1/projects", params={"name": f"found {mark}"})
    assert [one["id"] for one in by_config.json["items"]] == [made["id"]]
    assert [one["id"] for one in by_name.json["items"]] == [made["id"]]


async def test_what_another_workspace_contains_is_not_found(running: Running) -> None:
    mark = {"secret": uuid.uuid4().hex}
    await running.other.make("/v1/clouds", name="theirs", properties=mark)
    await running.other.make("/v1/projects", name=mark["secret"], config=mark)
    for path, name in (("/v1/clouds", "properties"), ("/v1/projects", "config")):
        found = {}
        for api in (running.api, running.other):
            answer = await api("GET", path, params={name: json.dumps(mark)})
            found[api.key] = len(answer.json["items"])
        assert found == {running.api.key: 0, running.other.key: 1}


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"a":NaN}', '{"a":"\\u0000"}', "{" * 500])
async def test_what_is_no_json_object_is_refused(api: Api, text: str) -> None:
    answer = await api("GET", "/v1/clouds", params={"properties": text})
    assert answer.problem == (422, "invalid_request", ["properties"])


async def test_a_cursor_of_another_order_is_refused(running: Running, project: str) -> None:
    api, path = running.api, f"/v1/clouds?project={project}&limit=2"
    by_name = (await api("GET", f"{path}&sort=name")).json["next"]
    by_time = (await api("GET", path)).json["next"]
    for query in (f"&cursor={by_name}", f"&sort=name&cursor={by_time}", "&sort=name&cursor=YWJj"):
        answer = await api("GET", path + query)
        assert answer.problem == (422, "invalid_cursor", ["cursor"])
    assert (await api("GET", f"{path}&sort=colour")).problem == (422, "invalid_request", ["sort"])


@pytest.mark.parametrize(("table", "column"), [("clouds", "properties"), ("projects", "config")])
async def test_content_is_found_by_its_index_among_many(
    running: Running, table: str, column: str
) -> None:
    """As the owner, which is how the function runs: under row-level security no index is used."""
    find = (
        f"explain select id from {table} where workspace_id = current_workspace() and {column} @> "  # noqa: S608
    )
    async with running.database.connected() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            f"insert into {table} (workspace_id, name, {column}) select id, 'many ' || n,"  # noqa: S608
            " jsonb_build_object('number', n) from workspaces, generate_series(1, 20000) n"
            " where workspaces.name = 'default'"
        )
        await connection.execute(
            "select enter_workspace(id) from workspaces where name = 'default'"
        )
        await connection.execute(f"analyze {table}")
        plan = await connection.fetch(find + "'{\"number\": 7}'")
        await transaction.rollback()
    assert f"{table}_by_{column}" in "\n".join(line[0] for line in plan)

"""Schedules over HTTP, on real Postgres."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.gateway.conftest import Api, Running

JOB = {"kind": "demo.print", "params": {"first": "a"}}
CRON = {"cron": "30 6 * * *", "timezone": "Europe/Zurich"}


async def make(api: Api, **fields: Any) -> Any:
    order = {"name": uuid.uuid4().hex, **JOB, **fields}
    if "at" not in fields:
        order = {**CRON, **order}
    return await api.make("/v1/schedules", **order)


def path_of(schedule: Any, action: str = "") -> str:
    return f"/v1/schedules/{schedule['id']}{action}"


def soon(**distance: float) -> str:
    return (datetime.now(UTC) + timedelta(**distance)).isoformat()


async def test_a_schedule_is_made_read_changed_and_deleted(api: Api) -> None:
    made = await api("POST", "/v1/schedules", json={"name": "daily", **JOB, **CRON})
    assert made.status == 201
    schedule, path = made.json, made.headers["Location"]
    assert (schedule["overlap"], schedule["missed"], schedule["version"]) == ("skip", "once", 1)
    assert datetime.fromisoformat(schedule["next_at"]) > datetime.now(UTC)
    assert (await api("GET", path)).json == schedule
    changed = await api(
        "PATCH", path, json={"name": "hourly", "cron": "0 * * * *", "overlap": "queue"}
    )
    told = changed.json
    assert (told["name"], told["cron"], told["overlap"]) == ("hourly", "0 * * * *", "queue")
    assert (told["timezone"], told["version"]) == ("Europe/Zurich", 2)
    assert told["next_at"].endswith(":00:00Z")
    assert (await api("DELETE", path)).status == 204
    for method, body in (("GET", None), ("DELETE", None), ("PATCH", {})):
        answer = await api(method, path, json=body)
        assert answer.problem == (404, "schedule_not_found", [])


async def test_a_single_time_is_what_it_says(api: Api) -> None:
    at = soon(hours=1)
    schedule = await make(api, at=at)
    assert datetime.fromisoformat(schedule["next_at"]) == datetime.fromisoformat(at)
    assert (schedule["cron"], schedule["timezone"]) == (None, None)
    preview = (await api("GET", path_of(schedule, "/preview"))).json
    assert preview["timezone"] == "UTC"
    assert [datetime.fromisoformat(time) for time in preview["times"]] == [
        datetime.fromisoformat(at)
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, (422, "invalid_request", ["cron"])),
        ({"at": "2100-01-01T00:00:00Z", "cron": "* * * * *"}, (422, "invalid_request", ["cron"])),
        ({"at": "2100-01-01T00:00:00Z", "timezone": "UTC"}, (422, "invalid_request", ["timezone"])),
        ({"at": "2100-01-01T00:00:00"}, (422, "invalid_request", ["at"])),
        ({"at": "9999-12-31T23:59:59-23:00"}, (422, "invalid_request", ["at"])),
        ({"at": "0001-01-01T00:00:00+23:00"}, (422, "invalid_request", ["at"])),
        ({"at": "2020-01-01T00:00:00Z"}, (422, "time_passed", ["at"])),
        ({"cron": "61 * * * *"}, (422, "invalid_cron", ["cron"])),
        ({"cron": "* * * * * *"}, (422, "invalid_cron", ["cron"])),
        ({"cron": "0 0 30 2 *"}, (422, "invalid_cron", ["cron"])),
        ({"cron": "@daily"}, (422, "invalid_cron", ["cron"])),
        ({"cron": "\x00 * * * *"}, (422, "invalid_request", ["cron"])),
        ({"cron": "* * * * *", "timezone": "Mars/Base"}, (422, "unknown_timezone", ["timezone"])),
        ({"cron": "* * * * *", "timezone": "../x"}, (422, "invalid_request", ["timezone"])),
    ],
)
async def test_a_time_that_is_none_is_refused_by_name(
    api: Api, fields: dict[str, str], problem: tuple[int, str, list[str]]
) -> None:
    order = {"name": "bad", **JOB, **fields}
    assert (await api("POST", "/v1/schedules", json=order)).problem == problem
    assert (await api("POST", "/v1/schedules/preview", json=fields)).problem == problem
    if fields:
        path = path_of(await make(api))
        assert (await api("PATCH", path, json=fields)).problem == problem


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"kind": "no.such"}, (422, "unknown_kind", ["kind"])),
        ({"params": {}}, (422, "invalid_request", ["params.first"])),
        ({"kind": "file.checksum", "params": {}}, (422, "invalid_request", ["cloud"])),
        ({"cloud": str(uuid.UUID(int=1))}, (404, "cloud_not_found", ["cloud"])),
        ({"overlap": "both"}, (422, "invalid_request", ["overlap"])),
        ({"name": "a\x00"}, (422, "invalid_request", ["name"])),
    ],
)
async def test_a_job_that_could_not_be_ordered_cannot_be_scheduled(
    api: Api, fields: dict[str, Any], problem: tuple[int, str, list[str]]
) -> None:
    order = {"name": "bad", **JOB, **CRON, **fields}
    assert (await api("POST", "/v1/schedules", json=order)).problem == problem


async def test_the_preview_shows_the_days_when_the_clocks_change(api: Api) -> None:
    line = {"cron": "30 2 24-26,28-30 3,10 *", "timezone": "Europe/Zurich"}
    schedule = await make(api, **line)
    for answer in (
        await api("GET", path_of(schedule, "/preview")),
        await api("POST", "/v1/schedules/preview", json=line),
    ):
        assert answer.json["timezone"] == "Europe/Zurich"
        assert len(answer.json["times"]) == 5
        for time in map(datetime.fromisoformat, answer.json["times"]):
            assert time.utcoffset() in {timedelta(hours=1), timedelta(hours=2)}
            assert time.strftime("%H:%M") in {"02:30", "03:00"}


async def test_a_name_is_taken_once(api: Api) -> None:
    first, second = await make(api, name="wanted"), await make(api)
    for answer in (
        await api("POST", "/v1/schedules", json={"name": "wanted", **JOB, **CRON}),
        await api("PATCH", path_of(second), json={"name": "wanted"}),
    ):
        assert answer.problem == (409, "schedule_name_taken", ["name"])
    assert (await api("PATCH", path_of(first), json={"name": "wanted"})).status == 200


async def test_a_change_of_an_old_version_is_refused(running: Running, api: Api) -> None:
    schedule = await make(api)
    first = (await api("GET", path_of(schedule))).headers["ETag"]
    async with running.database.connected() as connection:
        # What the processors note is nobody's change.
        await connection.execute("update schedules set last_at = now(), last_outcome = 'ordered'")
    changed = await api(
        "PATCH", path_of(schedule), json={"priority": 5}, headers={"If-Match": first}
    )
    assert (changed.status, changed.json["priority"]) == (200, 5)
    assert changed.headers["ETag"] != first
    late = await api("PATCH", path_of(schedule), json={"priority": 6}, headers={"If-Match": first})
    assert late.problem == (412, "precondition_failed", [])


async def test_a_change_of_other_things_leaves_the_next_time_alone(api: Api) -> None:
    schedule = await make(api, cron="*/2 * * * *")
    changed = await api("PATCH", path_of(schedule), json={"params": {"first": "b"}})
    assert changed.json["params"] == {"first": "b"}
    assert changed.json["next_at"] == schedule["next_at"]
    refused = await api("PATCH", path_of(schedule), json={"params": {"first": None}})
    assert refused.problem == (422, "invalid_request", ["params.first"])


async def test_a_cron_line_and_a_single_time_take_each_others_place(api: Api) -> None:
    schedule = await make(api)
    once = (await api("PATCH", path_of(schedule), json={"at": soon(hours=2)})).json
    assert (once["cron"], once["timezone"]) == (None, None)
    assert once["next_at"] == once["at"]
    lost = await api("PATCH", path_of(schedule), json={"timezone": "UTC"})
    assert lost.problem == (422, "invalid_request", ["cron"])
    again = (await api("PATCH", path_of(schedule), json={"cron": "0 0 * * *"})).json
    assert (again["at"], again["timezone"]) == (None, "UTC")


async def test_a_paused_schedule_has_no_next_time_until_it_is_resumed(api: Api) -> None:
    schedule = await make(api)
    paused = (await api("POST", path_of(schedule, "/pause"))).json
    assert (paused["next_at"], paused["version"]) == (None, 2)
    assert (await api("POST", path_of(schedule, "/pause"))).json == paused
    changed = (await api("PATCH", path_of(schedule), json={"cron": "0 0 * * *"})).json
    assert changed["next_at"] is None
    assert len((await api("GET", path_of(schedule, "/preview"))).json["times"]) == 5
    resumed = (await api("POST", path_of(schedule, "/resume"))).json
    assert resumed["paused_at"] is None
    assert datetime.fromisoformat(resumed["next_at"]) > datetime.now(UTC)
    assert (await api("POST", path_of(schedule, "/resume"))).json == resumed


async def test_a_single_time_that_passed_in_a_pause_needs_a_new_one(
    running: Running, api: Api
) -> None:
    schedule = await make(api, at=soon(hours=1))
    await api("POST", path_of(schedule, "/pause"))
    async with running.database.connected() as connection:
        await connection.execute(
            "update schedules set run_at = now() - interval '1 minute' where id = $1",
            uuid.UUID(schedule["id"]),
        )
    assert (await api("GET", path_of(schedule, "/preview"))).json["times"] == []
    refused = await api("POST", path_of(schedule, "/resume"))
    assert refused.problem == (409, "schedule_over", [])
    await api("PATCH", path_of(schedule), json={"at": soon(hours=1)})
    assert (await api("POST", path_of(schedule, "/resume"))).status == 200


async def test_a_list_is_read_to_its_end_part_by_part(api: Api) -> None:
    made = [(await make(api))["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        part = (await api("GET", f"/v1/schedules?limit=2{cursor}")).json
        assert len(part["items"]) <= 2
        seen += [item["id"] for item in part["items"]]
        if part["next"] is None:
            break
        cursor = f"&cursor={part['next']}"
    assert len(seen) == len(set(seen))
    assert [one for one in seen if one in made] == list(reversed(made))


async def test_the_jobs_that_it_has_ordered_are_listed(running: Running, api: Api) -> None:
    schedule = await make(api)
    await api.make("/v1/jobs", **JOB)
    async with running.database.connected() as connection:
        # As the processors do it, three times.
        for minute in range(3):
            job, planned = uuid.uuid4(), datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
            await connection.execute(
                "update schedules set next_at = $2, last_job_id = null where id = $1",
                uuid.UUID(schedule["id"]),
                planned,
            )
            await connection.fetchval(
                "select run_schedule($1, $2, $3, now() + interval '1 day')",
                uuid.UUID(schedule["id"]),
                planned,
                job,
            )
    told = (await api("GET", path_of(schedule))).json
    assert (told["last_job"], told["last_outcome"]) == (str(job), "ordered")
    first = (await api("GET", path_of(schedule, "/jobs?limit=2"))).json
    rest = (await api("GET", path_of(schedule, f"/jobs?cursor={first['next']}"))).json
    jobs = [*first["items"], *rest["items"]]
    assert [one["schedule"] for one in jobs] == [schedule["id"]] * 3
    assert (jobs[0]["id"], rest["next"]) == (str(job), None)


async def test_a_schedule_on_a_cloud_of_anothers_cannot_be_made(running: Running) -> None:
    theirs = (await running.other("POST", "/v1/clouds?name=t.laz", data=b"x")).json["cloud"]["id"]
    order = {"name": "x", "kind": "file.checksum", "cloud": theirs, **CRON}
    answer = await running.api("POST", "/v1/schedules", json=order)
    assert answer.problem == (404, "cloud_not_found", ["cloud"])


async def test_a_name_is_a_workspaces_own(running: Running) -> None:
    for api in (running.api, running.other):
        assert (await make(api, name="same"))["name"] == "same"

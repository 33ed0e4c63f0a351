"""`pointmill schedules …` against the real gateway."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.gateway.conftest import Running

LINE = ("--cron", "30 2 * * *", "--timezone", "Europe/Zurich")


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
def run(running: Running) -> Run:
    environment = {"POINTMILL_URL": running.api.base, "POINTMILL_API_KEY": running.api.key or ""}

    async def run_command(*arguments: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "services.gateway.client", *arguments),
            stdout=PIPE,
            stderr=PIPE,
            env={**os.environ, **environment},
        )
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        assert "Traceback" not in err.decode()
        return Ran(process.returncode or 0, out.decode(), err.decode())

    return run_command


async def test_a_schedule_is_made_shown_changed_paused_resumed_and_deleted(run: Run) -> None:
    made = await run("schedules", "add", "nightly", "demo.print", "first=a", *LINE, "--json")
    assert made.status == 0, made.err
    schedule = made.document
    assert (schedule["params"], schedule["timezone"]) == ({"first": "a"}, "Europe/Zurich")
    shown = await run("schedules", "show", "nightly")
    assert "30 2 * * * (Europe/Zurich)" in shown.out
    assert (await run("schedules", "--json", "show", schedule["id"])).document == schedule
    changed = await run("schedules", "change", "nightly", "--overlap", "cancel", "--json")
    assert (changed.document["overlap"], changed.document["cron"]) == ("cancel", "30 2 * * *")
    assert "paused" in (await run("schedules", "pause", "nightly")).out
    assert "paused" in (await run("schedules")).out
    assert "paused" not in (await run("schedules", "resume", "nightly")).out
    assert [one["name"] for one in (await run("schedules", "--json")).document] == ["nightly"]
    assert (await run("schedules", "jobs", "nightly")).out == "No jobs.\n"
    gone = await run("schedules", "delete", "nightly")
    assert (gone.status, gone.out) == (0, "Schedule nightly is deleted; its jobs stay.\n")
    missing = await run("schedules", "show", "nightly")
    assert (missing.status, missing.out) == (1, "")
    assert "(schedule_not_found)" in missing.err
    assert (await run("schedules")).out == "No schedules.\n"


async def test_times_are_previewed_as_the_clock_shows_them_there(run: Run) -> None:
    times = (await run("schedules", "preview", *LINE)).out.splitlines()
    assert len(times) == 5
    assert all(time[-6:] in {"+01:00", "+02:00"} for time in times)
    await run("schedules", "add", "previewed", "demo.print", "first=a", *LINE)
    told = await run("schedules", "preview", "previewed", "--json")
    assert told.document["timezone"] == "Europe/Zurich"
    assert len(told.document["times"]) == 5


async def test_a_time_without_a_zone_is_one_of_this_machine(run: Run) -> None:
    made = await run(
        "schedules", "add", "once", "demo.print", "first=a", "--at", "2100-06-01T12:00", "--json"
    )
    assert made.status == 0, made.err
    assert made.document["cron"] is None
    assert "once, " in (await run("schedules", "show", "once")).out


async def test_a_refused_line_is_told_with_what_to_do(run: Run) -> None:
    ran = await run("schedules", "add", "bad", "demo.print", "first=a", "--cron", "61 * * * *")
    assert (ran.status, ran.out) == (1, "")
    assert "(invalid_cron). Give minute, hour" in ran.err


async def test_a_unique_job_is_ordered_once(run: Run) -> None:
    order = ("run", "demo.print", "first=a", "--unique", "command", "--json")
    first, second = await run(*order), await run(*order)
    assert first.document["unique_key"] == "command"
    assert first.document["id"] == second.document["id"]

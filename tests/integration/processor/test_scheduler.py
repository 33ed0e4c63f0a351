"""Schedules under running processors: on time, after downtime, one job for each time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.processor.scheduler import job_id_of, run_due
from shared.cron import next_run
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.processors import Bench, eventually


async def make(bench: Bench, **columns: Any) -> UUID:
    """A schedule of `demo.print`, due five minutes ago unless told otherwise."""
    row = {
        "workspace_id": DEFAULT_WORKSPACE,
        "name": "test",
        "kind": "demo.print",
        "params": "{}",
        "cron": "0 * * * *",
        "timezone": "Europe/Zurich",
        "overlap": "skip",
        "missed": "once",
        "next_at": datetime.now(UTC) - timedelta(minutes=5),
        **columns,
    }
    names = ", ".join(row)
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    made = await bench.rows(
        f"insert into schedules ({names}) values ({places}) returning id",  # noqa: S608
        *row.values(),
    )
    identifier: UUID = made[0]["id"]
    return identifier


async def look(bench: Bench, schedule: UUID) -> dict[str, Any]:
    return (await bench.rows("select * from schedules where id = $1", schedule))[0]


async def jobs_of(bench: Bench, schedule: UUID) -> list[dict[str, Any]]:
    return await bench.rows("select id, state::text from jobs where schedule_id = $1", schedule)


def seen(bench: Bench, schedule: UUID) -> Callable[[], Awaitable[dict[str, Any] | None]]:
    """Once the schedule's time has come to something."""

    async def find() -> dict[str, Any] | None:
        row = await look(bench, schedule)
        return row if row["last_outcome"] else None

    return find


async def test_a_single_time_is_kept_to_the_second(bench: Bench) -> None:
    at = datetime.now(UTC) + timedelta(seconds=3)
    schedule = await make(bench, cron=None, timezone=None, run_at=at, next_at=at)
    async with bench.processor():
        row = await eventually(seen(bench, schedule))
        assert timedelta() <= row["last_at"] - at < timedelta(seconds=2)
        assert row["next_at"] is None
        await bench.until(job_id_of(schedule, at), "succeeded")


async def test_a_time_that_was_missed_is_made_up_for_once(bench: Bench) -> None:
    """Nobody was there for a day of hourly times: one job, and then the next hour."""
    planned = datetime.now(UTC) - timedelta(days=1)
    schedule = await make(bench, next_at=planned)
    async with bench.processor(), bench.processor():
        row = await eventually(seen(bench, schedule))
        await bench.until(job_id_of(schedule, planned), "succeeded")
        await asyncio.sleep(2.5)
    assert len(await jobs_of(bench, schedule)) == 1
    assert (row["last_outcome"], row["last_planned_at"]) == ("ordered", planned)
    assert row["next_at"] == next_run("0 * * * *", "Europe/Zurich", row["last_at"])


async def test_a_time_that_was_missed_is_skipped_where_that_is_wanted(bench: Bench) -> None:
    planned = datetime.now(UTC) - timedelta(days=1)
    schedule = await make(bench, missed="skip", next_at=planned)
    async with bench.processor():
        row = await eventually(seen(bench, schedule))
    assert (row["last_outcome"], row["last_planned_at"]) == ("missed", planned)
    assert row["next_at"] == next_run("0 * * * *", "Europe/Zurich", row["last_at"])
    assert await jobs_of(bench, schedule) == []


async def test_the_scheduler_goes_on_after_the_database_was_away(bench: Bench) -> None:
    async with bench.processor():
        await asyncio.to_thread(bench.database.servers.kill, "postgres")
        await asyncio.sleep(1.5)
        await bench.database.servers.start_postgres()
        schedule = await make(bench)
        await eventually(seen(bench, schedule), seconds=30)
    assert len(await jobs_of(bench, schedule)) == 1


async def test_cancel_stops_a_running_job_and_no_two_run_at_once(bench: Bench) -> None:
    params = json.dumps({"seconds": 60})
    schedule = await make(bench, kind="demo.sleep", params=params, overlap="cancel")
    async with bench.processor(slots=2):
        first = await eventually(lambda: _running(bench, schedule))
        await bench.rows("update schedules set next_at = now() where id = $1", schedule)
        second = await eventually(lambda: _running(bench, schedule, but=first))
        assert (await bench.job(first))["state"] == "cancelled"
        ended, started = (await bench.job(first))["ended_at"], (await bench.job(second))
        assert ended <= started["created_at"]


async def _running(bench: Bench, schedule: UUID, but: UUID | None = None) -> UUID | None:
    running = [
        job["id"]
        for job in await jobs_of(bench, schedule)
        if job["state"] == "running" and job["id"] != but
    ]
    return running[0] if running else None


async def test_what_is_wrong_with_one_schedule_does_not_hold_up_the_others(bench: Bench) -> None:
    """A line that only an older version took, or a zone that this machine does not know."""
    broken = await make(bench, name="broken", cron="0 0 30 2 *")
    nowhere = await make(bench, name="nowhere", timezone="Mars/Base")
    good = await make(bench, name="good", next_at=datetime.now(UTC))
    async with bench.processor():
        await eventually(seen(bench, good))
    for schedule, code in ((broken, "invalid_cron"), (nowhere, "unknown_timezone")):
        row = await look(bench, schedule)
        assert (row["last_outcome"], row["next_at"]) == ("refused", None)
        assert json.loads(row["last_error"])["code"] == code
    assert len(await jobs_of(bench, good)) == 1


async def test_a_mistake_of_ours_pauses_nobodys_schedule(bench: Bench) -> None:
    """A deploy has gone wrong: what is due stays due, is tried once a look, and comes later."""
    schedules = [await make(bench, name=name) for name in ("first", "second")]
    async with bench.database.connected() as owner:
        await owner.execute("alter function run_schedule rename to run_schedule_away")
        async with bench.processor() as processor:
            assert await run_due(processor) == len(schedules)
            for schedule in schedules:
                assert (await look(bench, schedule))["next_at"] is not None
            await owner.execute("alter function run_schedule_away rename to run_schedule")
            for schedule in schedules:
                row = await eventually(seen(bench, schedule))
                assert row["last_outcome"] == "ordered"

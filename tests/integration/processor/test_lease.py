"""Who owns a job: the lease, the reaper, the fence, and a worker that leaves."""

import asyncio
import signal
import time

import pytest

from shared.errors import DatabaseUnavailable
from tests.fixtures.processors import Bench, eventually


async def test_a_worker_that_has_lost_its_lease_stops_and_writes_nothing(bench: Bench) -> None:
    job = await bench.order("demo.sleep", {"seconds": 3})
    async with bench.processor() as processor:
        await bench.until(job, "running")
        # Somebody else owns it now, as after a pause that was longer than the lease.
        await bench.rows(
            "update jobs set attempt = attempt + 1, lease_owner = 'other' where id = $1 returning 1",
            job,
        )
        await eventually(lambda: _not(job in processor.running), seconds=3)
    row = await bench.job(job)
    assert (row["state"], row["lease_owner"]) == ("running", "other")


async def _not(value: bool) -> bool:
    return not value


async def test_a_worker_told_to_leave_gives_its_job_back_at_once(bench: Bench) -> None:
    job = await bench.order("demo.sleep", {"seconds": 60})
    async with bench.processor(drain_seconds=0.2):
        await bench.until(job, "running")
        left = time.monotonic()
    assert time.monotonic() - left < 4
    row = await bench.job(job)
    assert (row["state"], row["failures"], row["attempt"]) == ("queued", 0, 1)
    outcome = await bench.rows("select outcome from attempts where job_id = $1", job)
    assert outcome == [{"outcome": "released"}]


async def test_a_worker_told_to_leave_ends_what_fits_the_grace_and_claims_no_more(
    bench: Bench,
) -> None:
    job = await bench.order("demo.sleep", {"seconds": 1})
    async with bench.processor(drain_seconds=10):
        await bench.until(job, "running")
        second = await bench.order("demo.print")
    assert (await bench.job(job))["state"] == "succeeded"
    assert (await bench.job(second))["state"] == "queued"


async def test_the_job_of_a_silent_worker_is_run_again_by_another(bench: Bench) -> None:
    job = await bench.order("demo.print")
    await bench.rows("select (claim_job('silent', array['demo.print'], 0.5, gen_random_uuid())).id")
    async with bench.processor(lease_seconds=1):
        row = await bench.until(job, "succeeded")
    assert row["attempt"] == 2
    lost = await bench.rows("select outcome from attempts where job_id = $1 order by attempt", job)
    assert [attempt["outcome"] for attempt in lost] == ["lost", "succeeded"]


async def test_the_reaper_waits_one_lease_after_it_has_met_the_database(bench: Bench) -> None:
    """Workers could not renew while the database was away: their jobs must not be taken at once."""
    await bench.order("demo.sleep", {"seconds": 60}, priority=5)
    await bench.rows("select (claim_job('silent', array['demo.sleep'], 0, gen_random_uuid())).id")
    start = time.monotonic()
    async with bench.processor(lease_seconds=3, slots=1):
        await eventually(lambda: bench.rows("select 1 from attempts where outcome = 'lost'"))
    assert time.monotonic() - start >= 3


async def test_a_job_goes_on_while_the_broker_is_away(bench: Bench) -> None:
    job = await bench.order("demo.sleep", {"seconds": 4})
    async with bench.processor():
        await bench.until(job, "running")
        bench.broker.servers.signal("rabbitmq", signal.SIGSTOP)
        try:
            row = await bench.until(job, "succeeded")
        finally:
            bench.broker.servers.signal("rabbitmq", signal.SIGCONT)
    assert row["attempt"] == 1


async def test_a_claim_whose_answer_was_lost_is_adopted_not_doubled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The COMMIT worked, the answer did not come: the slot must get that very job."""
    async with bench.processor(poll_seconds=0.2) as processor:
        ask, lost = processor.database.row, []

        async def lossy(name: str, *arguments: object) -> object:
            answer = await ask(name, *arguments)
            if name == "claim_job" and answer is not None and not lost:
                lost.append(answer["id"])
                raise DatabaseUnavailable("the answer was lost")
            return answer

        monkeypatch.setattr(processor.database, "row", lossy)
        job = await bench.order("demo.sleep", {"seconds": 0})
        row = await bench.until(job, "succeeded", "failed")
    assert lost == [job]
    assert (row["state"], row["attempt"]) == ("succeeded", 1)


async def test_a_finish_whose_answer_was_lost_is_recognised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.processor(poll_seconds=0.2) as processor:
        ask, lost = processor.database.value, []

        async def lossy(name: str, *arguments: object) -> object:
            answer = await ask(name, *arguments)
            if name == "finish_job" and not lost:
                lost.append(answer)
                raise DatabaseUnavailable("the answer was lost")
            return answer

        monkeypatch.setattr(processor.database, "value", lossy)
        job = await bench.order("demo.sleep", {"seconds": 0})
        await bench.until(job, "succeeded")
        await eventually(lambda: _not(bool(processor.running)))
        assert lost == [True]
    outcomes = await bench.rows("select outcome from attempts where job_id = $1", job)
    assert outcomes == [{"outcome": "succeeded"}]
    ends = await bench.rows(
        "select 1 from job_events where job_id = $1 and type = 'succeeded'", job
    )
    assert len(ends) == 1


async def test_two_processors_share_the_work_and_no_job_runs_twice(bench: Bench) -> None:
    jobs = [await bench.order("demo.sleep", {"seconds": 0.1}) for _ in range(12)]
    async with bench.processor(slots=2), bench.processor(slots=2):
        for job in jobs:
            await bench.until(job, "succeeded", seconds=40)
    rows = await bench.rows("select attempt, instance from attempts")
    assert len(rows) == 12
    assert len({row["instance"] for row in rows}) == 2


async def test_a_slot_looks_as_often_while_the_broker_is_away(bench: Bench) -> None:
    """Doorbells only make it faster: without a broker the poll alone finds the job."""
    async with bench.processor(poll_seconds=0.5):
        await bench.until(await bench.order("demo.print"), "succeeded")
        bench.broker.servers.kill("rabbitmq")
        try:
            for _ in range(8):
                await asyncio.sleep(0.7)
                job, start = await bench.order("demo.print"), time.monotonic()
                await bench.until(job, "running", "succeeded")
                assert time.monotonic() - start < 1.5
        finally:
            await bench.broker.servers.start_rabbitmq()

"""A job's road through a real processor, database and broker."""

import asyncio
import time
from dataclasses import replace

import aio_pika

from services.processor.registrar import register_kinds
from services.processor.task import Limits
from tests.fixtures.processors import Bench, eventually


async def test_a_job_whose_doorbell_was_lost_is_found_by_the_poll(bench: Bench) -> None:
    job = await bench.order("demo.print", {"first": "a", "second": "b"})
    async with bench.processor():
        row = await bench.until(job, "succeeded", "failed")
    assert row["state"] == "succeeded"
    assert row["result"] is not None
    attempts = await bench.rows(
        "select attempt, outcome, log_tail from attempts where job_id = $1", job
    )
    assert attempts == [{"attempt": 1, "outcome": "succeeded", "log_tail": "a b"}]


async def test_the_end_of_a_job_reaches_the_notifiers_queue(bench: Bench) -> None:
    job = await bench.order("demo.print")
    async with bench.processor():

        async def told() -> aio_pika.abc.AbstractIncomingMessage | None:
            async with await aio_pika.connect(bench.broker.url("notifier")) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue("notifier.events", passive=True)
                return await queue.get(no_ack=True, fail=False)

        message = await eventually(told)
    assert message.correlation_id == str(job)
    assert message.type == "pointmill.job.succeeded.v1"
    assert message.user_id == "processor"


async def test_a_running_job_is_cancelled_and_its_process_is_gone(bench: Bench) -> None:
    job = await bench.order("demo.sleep", {"seconds": 60})
    async with bench.processor() as processor:
        await bench.until(job, "running")
        async with bench.database.connected("gateway") as connection:
            row = await connection.fetchrow(
                "select (cancel_job($1, $2)).*", (await bench.job(job))["workspace_id"], job
            )
        assert row["state"] == "running"
        start = time.monotonic()
        await bench.until(job, "cancelled")
        assert time.monotonic() - start < 2
        await eventually(lambda: _gone(processor.settings.scratch, str(job)))


async def test_a_job_past_its_time_in_all_is_killed_by_its_next_heartbeat(
    bench: Bench,
) -> None:
    job = await bench.order("demo.sleep", {"seconds": 60})
    async with bench.processor() as processor:
        await bench.until(job, "running")
        await bench.rows("update jobs set end_by = now() where id = $1 returning id", job)
        start = time.monotonic()
        row = await bench.until(job, "failed")
        assert time.monotonic() - start < 2
        await eventually(lambda: _gone(processor.settings.scratch, str(job)))
    assert '"total_time_limit"' in str(row["error"])
    assert (row["attempt"], row["failures"]) == (1, 1)
    attempts = await bench.rows("select outcome from attempts where job_id = $1", job)
    assert attempts == [{"outcome": "failed"}]


async def test_a_kinds_limits_stand_in_its_row(bench: Bench) -> None:
    limits = Limits(total_seconds=90.0, retry_codes=frozenset({"b", "a"}))
    async with bench.processor() as processor:
        await eventually(lambda: bench.rows("select 1 from kinds"))  # it has said so once
        tasks = {"demo.print": replace(processor.tasks["demo.print"], limits=limits)}
        await register_kinds(replace(processor, tasks=tasks))
        rows = await bench.rows(
            "select total_seconds, retry_codes, no_retry_codes from kinds where kind = 'demo.print'"
        )
    assert rows == [{"total_seconds": 90.0, "retry_codes": ["a", "b"], "no_retry_codes": []}]


async def _gone(scratch: object, name: str) -> bool:
    process = await asyncio.create_subprocess_exec(
        "pgrep", "-f", name, stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait() == 1


async def test_a_refusal_fails_the_job_at_once_with_its_own_code(bench: Bench) -> None:
    job = await bench.order("demo.sleep", {"seconds": 0, "ending": "refuse"})
    async with bench.processor():
        row = await bench.until(job, "failed")
    assert row["attempt"] == 1
    assert '"drill_refused"' in str(row["error"])


async def test_a_bug_is_retried_and_then_fails_visibly(bench: Bench) -> None:
    async with bench.processor():
        await eventually(lambda: bench.rows("select 1 from kinds"))  # its short backoff is known
        job = await bench.order("demo.sleep", {"seconds": 0, "ending": "error"})
        row = await bench.until(job, "failed")
    assert row["attempt"] == 3
    assert '"task_error"' in str(row["error"])
    assert "Traceback" not in str(row["error"])


async def test_a_crash_by_a_signal_harms_neither_the_worker_nor_the_next_job(bench: Bench) -> None:
    crash = await bench.order("demo.sleep", {"seconds": 0, "ending": "crash"})
    after = await bench.order("demo.print")
    async with bench.processor():
        row = await bench.until(crash, "failed")
        assert '"task_crashed"' in str(row["error"])
        assert "SIGSEGV" in str(row["error"])
        await bench.until(after, "succeeded")

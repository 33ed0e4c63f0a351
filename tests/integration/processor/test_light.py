"""Light jobs: many at a time, each with an end of its own."""

from collections import Counter
from typing import Any

import pytest

from services.processor.light import BATCH
from services.processor.light_child import LightChild
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.processors import Bench, eventually

ENDED = "select count(*) as n from jobs where state in ('succeeded', 'failed', 'cancelled')"


async def order_many(bench: Bench, count: int) -> None:
    """Order jobs as the gateway's role; their doorbells stay in its outbox."""
    async with bench.database.connected("gateway") as connection:
        await connection.execute(
            "select create_job($1, 'demo.print', jsonb_build_object('first', n::text), null, 0::smallint, 'test')"
            " from generate_series(1, $2) as n",
            DEFAULT_WORKSPACE,
            count,
        )


async def all_ended(bench: Bench, count: int) -> bool:
    return bool((await bench.rows(ENDED))[0]["n"] == count)


async def test_each_job_of_a_batch_has_its_own_result_log_attempt_and_event(bench: Bench) -> None:
    await order_many(bench, 2 * BATCH + 1)
    async with bench.processor():
        await eventually(lambda: all_ended(bench, 2 * BATCH + 1))
    jobs = await bench.rows(
        "select j.params ->> 'first' as first, j.result ->> 'printed' as printed, j.attempt, j.sequence,"
        " a.log_tail, a.outcome, e.message -> 'data' -> 'result' ->> 'printed' as told"
        " from jobs j join attempts a on a.job_id = j.id"
        " join job_events e on e.job_id = j.id and e.type = 'succeeded' and e.sequence = j.sequence"
    )
    assert len(jobs) == 2 * BATCH + 1
    for job in jobs:
        said = f"{job['first']} world"
        assert (job["printed"], job["log_tail"], job["told"]) == (said, said, said)
        assert (job["attempt"], job["sequence"], job["outcome"]) == (1, 3, "succeeded")


async def test_a_job_with_wrong_parameters_fails_alone(bench: Bench) -> None:
    await order_many(bench, 3)
    wrong = await bench.order("demo.print", {"third": 1})
    async with bench.processor():
        await eventually(lambda: all_ended(bench, 4))
    assert (await bench.job(wrong))["error"]
    states = Counter(row["state"] for row in await bench.rows("select state::text from jobs"))
    assert states == {"succeeded": 3, "failed": 1}


async def test_the_job_that_kills_its_batch_ends_alone_and_costs_the_others_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []

    async def with_a_death(child: Any, kind: str, workspace: Any, batch: Any) -> Any:
        """The child dies at the job that says so."""
        batches.append(len(batch))
        deadly = [n for n, params in enumerate(batch) if params.get("first") == "die"]
        endings = await run(child, kind, workspace, batch)
        return endings[: deadly[0]] if deadly else endings

    run = LightChild.run
    monkeypatch.setattr(LightChild, "run", with_a_death)
    await order_many(bench, 5)
    await bench.order("demo.print", {"first": "die"})
    await order_many(bench, 5)
    async with bench.processor(light_slots=1):
        await eventually(lambda: all_ended(bench, 11))
    rows = await bench.rows("select state::text, attempt, failures, params from jobs")
    assert {row["state"] for row in rows} == {"succeeded"}
    assert {row["failures"] for row in rows} == {0}
    # The five after it were given back and claimed again; the one itself ran again in its first attempt.
    assert Counter(row["attempt"] for row in rows) == {1: 6, 2: 5}
    assert batches == [0, 11, 5]  # the first one warms the fork server up


async def test_a_cancel_that_comes_while_the_batch_runs_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await bench.order("demo.print")
    await order_many(bench, 2)

    async def with_a_cancel(child: Any, kind: str, workspace: Any, batch: Any) -> Any:
        endings = await run(child, kind, workspace, batch)
        async with bench.database.connected("gateway") as connection:
            await connection.execute("select cancel_job($1, $2)", DEFAULT_WORKSPACE, job)
        return endings

    run = LightChild.run
    monkeypatch.setattr(LightChild, "run", with_a_cancel)
    async with bench.processor():
        await eventually(lambda: all_ended(bench, 3))
    assert (await bench.job(job))["state"] == "cancelled"

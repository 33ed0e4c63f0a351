"""Whose job is next: priority inside a workspace, weights and caps between them; kinds that may start.

Each rule has a scenario, and each scenario fails when its rule is taken out of the SQL.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.moves import KINDS, Moves

MANY = 10_000
Scenario = Callable[[Moves], Awaitable[None]]


async def queue_many(
    moves: Moves, kind: str = "demo.print", priority: int = 0, *, hours: float = 0
) -> None:
    """Ten thousand queued jobs, as they would be had they been ordered one by one."""
    await moves.owner.execute(
        "insert into jobs (workspace_id, kind, pool, priority, available_at, start_by, max_failures,"
        " backoff_seconds, requested_by)"
        " select $1, $2, 'default', $3, now() + make_interval(secs => $4 * 3600),"
        " now() + interval '1 day', 3, 2, 'test' from generate_series(1, $5)",
        *(DEFAULT_WORKSPACE, kind, priority, hours, MANY),
    )
    await moves.owner.execute("analyze jobs")


async def serve(moves: Moves, slots: int, jobs: int) -> "Counter[UUID]":
    """So many slots do so many jobs, one second each; whose they were."""
    served: Counter[UUID] = Counter()
    running: list[Any] = []
    for _ in range(jobs):
        if len(running) == slots:
            oldest = running.pop(0)
            assert await moves.finish(oldest["id"], oldest["attempt"])
        job = await moves.claim()
        served[job["workspace_id"]] += 1
        running.append(job)
    for job in running:
        assert await moves.finish(job["id"], job["attempt"])
    return served


async def priority_orders_the_jobs_of_one_workspace(moves: Moves) -> None:
    low, high = await moves.order(priority=-5), await moves.order(priority=5)
    assert [(await moves.claim())["id"] for _ in range(2)] == [high, low]


async def priority_orders_jobs_of_different_kinds(moves: Moves) -> None:
    low = await moves.order(priority=-5, kind="demo.print")
    high = await moves.order(priority=5, kind="demo.sleep")
    assert [(await moves.claim())["id"] for _ in range(2)] == [high, low]


async def priority_does_not_count_between_workspaces(moves: Moves) -> None:
    for _ in range(20):
        await moves.order(priority=100)
    other = await moves.workspace("other")
    job = await moves.order(other, priority=-100)
    await moves.claim()
    assert (await moves.claim())["id"] == job


async def the_next_slot_is_for_the_single_job_of_another(moves: Moves) -> None:
    """One slot, and whoever came first has ten thousand jobs: the other waits for one of them."""
    await queue_many(moves)
    await serve(moves, slots=1, jobs=4)
    other = await moves.workspace("other")
    job = await moves.order(other)
    assert (await moves.claim())["id"] == job


async def who_comes_back_has_saved_no_turns(moves: Moves) -> None:
    other = await moves.workspace("other")
    for _ in range(20):
        await moves.order()
    await serve(moves, slots=1, jobs=20)
    for _ in range(10):
        await moves.order()
        await moves.order(other)
    served = await serve(moves, slots=1, jobs=10)
    assert served == {DEFAULT_WORKSPACE: 5, other: 5}


async def long_jobs_do_not_keep_all_slots(moves: Moves) -> None:
    """The first workspace's jobs never end: of four slots it may keep its share, two."""
    other = await moves.workspace("other")
    for _ in range(20):
        await moves.order()
        await moves.order(other)
    theirs = 0
    for _ in range(12):
        job = await moves.claim()
        if job["workspace_id"] == other:
            await moves.finish(job["id"], job["attempt"])
        else:
            theirs += 1
        if theirs > 1:
            running = Counter(
                row["workspace_id"]
                for row in await moves.owner.fetch(
                    "select workspace_id from jobs where state = 'running'"
                )
            )
            assert running[DEFAULT_WORKSPACE] <= 2


async def weights_share_the_slots(moves: Moves, slots: int) -> None:
    heavy = await moves.workspace("heavy", weight=30)
    await moves.owner.execute("update workspaces set weight = 10 where id = $1", DEFAULT_WORKSPACE)
    for _ in range(45):
        await moves.order()
        await moves.order(heavy)
    served = await serve(moves, slots, 44)
    assert abs(served[heavy] - 33) <= 1, served


async def weights_share_one_slot(moves: Moves) -> None:
    await weights_share_the_slots(moves, 1)


async def weights_share_eight_slots(moves: Moves) -> None:
    await weights_share_the_slots(moves, 8)


async def a_cap_holds(moves: Moves) -> None:
    capped = await moves.workspace("capped", max_running=2)
    for _ in range(5):
        await moves.order(capped)
    assert [await moves.claim() is not None for _ in range(4)] == [True, True, False, False]


async def claim_twice_at_once(moves: Moves, between: Callable[[], Awaitable[Any]]) -> Any:
    """What a second claim gets that begins before a first one has committed."""
    async with moves.owner.transaction():
        first = await moves.owner.fetchrow(
            "select * from claim_job('i', $1, 15, $2)", KINDS, uuid.uuid4()
        )
        assert first is not None
        await between()
        second = asyncio.create_task(moves.claim())
        await asyncio.wait({second}, timeout=0.5)
    return await second


async def a_cap_holds_between_two_at_once(moves: Moves) -> None:
    capped = await moves.workspace("capped", max_running=1)
    await moves.order(capped)
    assert await claim_twice_at_once(moves, lambda: moves.order(capped)) is None


async def a_limit_of_starts_holds_between_two_at_once(moves: Moves) -> None:
    await moves.register("demo.print", starts_per_minute=1)
    other = await moves.workspace("other")
    await moves.owner.execute("update workspaces set turn = -1 where id = $1", other)
    await moves.order()
    assert await claim_twice_at_once(moves, lambda: moves.order(other)) is None


async def a_paused_kind_is_not_claimed_and_blocks_nobody(moves: Moves) -> None:
    await moves.register("demo.sleep")
    await moves.owner.execute("update kinds set paused_at = now()")
    await moves.order(kind="demo.sleep", priority=10)
    job = await moves.order()
    assert (await moves.claim())["id"] == job
    assert await moves.claim() is None


async def a_kind_starts_as_often_a_minute_as_it_may_and_blocks_nobody(moves: Moves) -> None:
    await moves.register("demo.sleep", starts_per_minute=2)
    for _ in range(4):
        await moves.order(kind="demo.sleep", priority=10)
    await moves.order()
    claimed = [await moves.claim() for _ in range(4)]
    kinds = [job and job["kind"] for job in claimed]
    assert kinds == ["demo.sleep", "demo.sleep", "demo.print", None]
    await moves.owner.execute("update kind_starts set at = at - interval '61 seconds'")
    again = await moves.claim()
    assert again is not None
    assert again["kind"] == "demo.sleep"
    assert await moves.owner.fetchval("select count(*) from kind_starts") == 1


async def a_batch_of_light_jobs_keeps_to_the_limit_of_starts(moves: Moves) -> None:
    await moves.register("demo.print", starts_per_minute=3)
    for _ in range(5):
        await moves.order()
    claim = "select * from claim_light_jobs('i', $1, 15, $2, 200)"
    counts = [len(await moves.processor.fetch(claim, KINDS, uuid.uuid4())) for _ in range(2)]
    assert counts == [3, 0]


async def a_slot_takes_only_what_fits(moves: Moves) -> None:
    await moves.register("demo.sleep", cores=4, memory_bytes=8 << 30)
    large, small = await moves.order(kind="demo.sleep", priority=10), await moves.order()

    async def claim(cores: int, memory: int) -> Any:
        row = await moves.processor.fetchrow(
            "select * from claim_job('i', $1, 15, $2, $3, $4)", KINDS, uuid.uuid4(), cores, memory
        )
        return row and row["id"]

    assert await claim(2, 8 << 30) == small
    assert await claim(4, 4 << 30) is None
    assert await claim(4, 8 << 30) == large


SCENARIOS: list[Scenario] = [
    priority_orders_the_jobs_of_one_workspace,
    priority_orders_jobs_of_different_kinds,
    priority_does_not_count_between_workspaces,
    the_next_slot_is_for_the_single_job_of_another,
    who_comes_back_has_saved_no_turns,
    long_jobs_do_not_keep_all_slots,
    weights_share_one_slot,
    weights_share_eight_slots,
    a_cap_holds,
    a_cap_holds_between_two_at_once,
    a_limit_of_starts_holds_between_two_at_once,
    a_paused_kind_is_not_claimed_and_blocks_nobody,
    a_kind_starts_as_often_a_minute_as_it_may_and_blocks_nobody,
    a_batch_of_light_jobs_keeps_to_the_limit_of_starts,
    a_slot_takes_only_what_fits,
]
LOAD = "ready.running * ready.lightest / ready.weight"
TURN = "ready.turn,"
URGENT = "(select max(j.priority) from jobs j where j.workspace_id = ready.id and j.state = 'queued') desc"
STARTS = a_kind_starts_as_often_a_minute_as_it_may_and_blocks_nobody
# Of each scenario, what is taken out: function, text, what stands there instead.
PLANTS: list[tuple[Scenario, list[tuple[str, str, str]]]] = [
    (
        priority_orders_the_jobs_of_one_workspace,
        [
            (
                "choose_jobs",
                "order by j.priority desc, j.available_at, j.id limit v_starts",
                "order by j.id limit v_starts",
            )
        ],
    ),
    (priority_orders_jobs_of_different_kinds, [("best_job", "head.priority desc, head", "head")]),
    (
        priority_does_not_count_between_workspaces,
        [("workspaces_in_line", f"order by {LOAD}", f"order by {URGENT}, {LOAD}")],
    ),
    (the_next_slot_is_for_the_single_job_of_another, [("workspaces_in_line", TURN, "")]),
    (who_comes_back_has_saved_no_turns, [("choose_jobs", "greatest(turn, v_next.line)", "turn")]),
    (long_jobs_do_not_keep_all_slots, [("workspaces_in_line", f"{LOAD},", "")]),
    (weights_share_one_slot, [("choose_jobs", "1.0 / weight", "1.0")]),
    (weights_share_eight_slots, [("workspaces_in_line", LOAD, "ready.running")]),
    (
        a_cap_holds,
        [
            ("workspaces_in_line", "w.max_running is null or", "true or"),
            ("choose_jobs", "v_workspace.max_running - (", "99 - ("),
        ],
    ),
    (
        a_cap_holds_between_two_at_once,
        [("choose_jobs", "id = v_next.id for no key update;", "id = v_next.id;")],
    ),
    (
        a_limit_of_starts_holds_between_two_at_once,
        [("choose_jobs", "kind = v_best.kind for no key update;", "kind = v_best.kind;")],
    ),
    (
        a_paused_kind_is_not_claimed_and_blocks_nobody,
        [("open_kinds", "k.paused_at is null", "true")],
    ),
    (STARTS, [("starts_left", "p_most - (", "99 - (")]),
    (STARTS, [("starts_left", "and at > clock_timestamp() - interval '1 minute'", "")]),
    (STARTS, [("choose_jobs", "and at <= clock_timestamp() - interval '1 minute'", "and false")]),
    (
        a_batch_of_light_jobs_keeps_to_the_limit_of_starts,
        [
            (
                "choose_jobs",
                "least(v_room, starts_left(v_best.kind, v_kind.starts_per_minute))",
                "v_room",
            )
        ],
    ),
    (a_slot_takes_only_what_fits, [("open_kinds", "k.cores <=", "0 <=")]),
    (a_slot_takes_only_what_fits, [("open_kinds", "k.memory_bytes <=", "0 <=")]),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_claim_is_fair(moves: Moves, scenario: Scenario) -> None:
    await scenario(moves)


@pytest.mark.parametrize(
    ("scenario", "plants"),
    PLANTS,
    ids=[f"{scenario.__name__}-{plants[-1][0]}" for scenario, plants in PLANTS],
)
async def test_a_rule_that_is_taken_out_is_missed(
    moves: Moves, scenario: Scenario, plants: list[tuple[str, str, str]]
) -> None:
    for function, rule, instead in plants:
        body = await moves.owner.fetchval(
            "select pg_get_functiondef(oid) from pg_proc where proname = $1", function
        )
        assert rule in body, "the rule is not where the test looks for it"
        await moves.owner.execute(body.replace(rule, instead))
    with pytest.raises(AssertionError):
        await scenario(moves)

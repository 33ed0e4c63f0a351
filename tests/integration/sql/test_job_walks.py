"""The pure module and the schema say the same: random walks of one job are played against both."""

import json
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.db import load_statements
from shared.jobs import (
    ENDS,
    OVERTIME,
    Beat,
    Cancel,
    Claim,
    Fail,
    Finish,
    Job,
    JobState,
    Move,
    Overdue,
    Reap,
    Refusal,
    Release,
    move,
    retry_pause,
)
from tests.fixtures.moves import Moves

KIND = "demo.print"
TIMES = ("available_at", "start_by", "end_by", "lease_until")
LEASE = 20.0
PAUSE = 40.0
IN_ALL = 200_000.0
STEPS = 40
# Seconds between our look at the clock and the database's, on a busy machine.
SLACK = 0.8


@dataclass
class Walk:
    """One job as a row and as a value, on the database's clock and what was skipped on purpose."""

    moves: Moves
    row: UUID
    job: Job
    began: datetime
    skipped: float = 0.0
    now: float = 0.0

    async def play(self, what: Move) -> None:
        """Make the move on both and compare everything they have in common."""
        self.now = await self._clock()
        answer = await self._ask(what)
        row = await self.moves.look(self.row)
        told = self._times(row)
        if isinstance(what, Fail | Reap):
            what = replace(what, chance=self._chance(told["available_at"]))
        after = move(self.job, what, self.now)
        granted = not isinstance(after, Refusal)
        if not isinstance(what, Cancel):  # it answers with the job whether it was moved or not
            assert bool(answer) == granted, f"{what}: {answer!r}, but {after!r}"
        if not isinstance(after, Refusal):
            self.job = after
        self._compare(row, told, f"after {what}")

    def _chance(self, available_at: float) -> float:
        """The chance that the database took, read off the pause; 0 where there was none."""
        least, most = retry_pause(self.job, 0.0), retry_pause(self.job, 1.0)
        pause = available_at - self.now
        inside = least - SLACK <= pause <= most + SLACK
        return min(max((pause - least) / (most - least), 0.0), 1.0) if inside else 0.0

    async def _ask(self, what: Move) -> Any:
        match what:
            case Finish():
                return await self.moves.finish(self.row, what.attempt)
            case Fail():
                return await self.moves.fail(
                    self.row, what.attempt, retryable=what.retryable, code=what.code
                )
            case Cancel():
                return await self.moves.cancel(self.row)
        row = await self.moves.processor.fetchrow(*self._statement(what))
        if isinstance(what, Beat):
            told = (self.job.cancel_asked, self.job.out_of_time(self.now))
            assert row is None or (row["cancel_requested"], row["out_of_time"]) == told
            return row
        return row and row[0]

    def _statement(self, what: Move) -> tuple[Any, ...]:
        """The statement of the processor that makes this move, and its arguments."""
        match what:
            case Claim():
                claim = "select * from claim_job($1, $2, $3, $4)"
                return claim, what.holder, [KIND], what.lasts, uuid4()
            case Beat():
                return (
                    load_statements("processor")["beat"],
                    self.row,
                    what.attempt,
                    what.lasts,
                    None,
                )
            case Release():
                return "select release_job($1, $2)", self.row, what.attempt
            case Reap():
                return ("select reap_lost_jobs(10)",)
        return ("select fail_overdue_jobs(10)",)

    async def _clock(self) -> float:
        return self._time(await self.moves.owner.fetchval("select clock_timestamp()"))

    def _time(self, moment: datetime) -> float:
        return (moment - self.began).total_seconds() + self.skipped

    def _times(self, row: Any) -> dict[str, float]:
        return {name: self._time(row[name]) for name in TIMES if row[name] is not None}

    def _compare(self, row: Any, told: dict[str, float], when: str) -> None:
        job = self.job
        error = json.loads(row["error"])["code"] if row["error"] else None
        is_ = (
            row["state"],
            row["attempt"],
            row["failures"],
            row["sequence"],
            row["lease_owner"],
            row["cancel_requested_at"] is not None,
            {"no_worker": "not_started"}.get(error or "", error),
        )
        should = (
            str(job.state),
            job.attempt,
            job.failures,
            job.sequence,
            job.holder,
            job.cancel_asked,
            job.error,
        )
        assert is_ == should, when
        for name in TIMES:
            ours = getattr(job, name)
            assert (ours is None) == (name not in told), f"{name} {when}"
            assert ours is None or abs(ours - told[name]) < SLACK, f"{name} {when}"

    async def pass_time(self, seconds: float) -> None:
        """Time passes: every time in the row lies that much further back."""
        self.now = await self._clock()
        limits = [getattr(self.job, name) for name in TIMES]
        limits += [self.job.end_by + OVERTIME]
        while any(at is not None and abs(at - self.now - seconds) < 2 * SLACK for at in limits):
            seconds += 1.0  # not so near to a limit that the two clocks could disagree
        self.skipped += seconds
        await self.moves.owner.execute(
            "update jobs set available_at = available_at - $2::interval, start_by = start_by - $2::interval,"
            " end_by = end_by - $2::interval, lease_until = lease_until - $2::interval where id = $1",
            self.row,
            timedelta(seconds=seconds),
        )


async def start_walk(moves: Moves) -> Walk:
    row = await moves.order(kind=KIND)
    found = await moves.look(row)
    job = Job(
        available_at=0.0,
        start_by=86_400.0,
        end_by=IN_ALL,
        backoff_seconds=PAUSE,
        retry_codes=frozenset({"again"}),
        no_retry_codes=frozenset({"never"}),
    )
    walk = Walk(moves, row, job, found["created_at"])
    walk._compare(found, walk._times(found), "at first")
    await walk.pass_time(1.0)
    return walk


async def stroll(moves: Moves, seed: int) -> set[JobState]:
    """One random walk, and a few steps beyond the job's end; the states it came through."""
    chance = random.Random(seed)  # noqa: S311 - a walk, not a secret
    walk = await start_walk(moves)
    believes = {"first": 0, "second": 0}
    seen, beyond = {walk.job.state}, 0
    for _ in range(STEPS):
        worker = chance.choice(list(believes))
        attempt = believes[worker]
        what = chance.choices(
            [
                Claim(worker, LEASE),
                Beat(attempt, LEASE),
                Finish(attempt),
                Fail(attempt, chance.choice(["x", "x", "never", "again"]), retryable=True),
                Fail(attempt, chance.choice(["x", "never", "again"]), retryable=False),
                Release(attempt),
                Reap(),
                Cancel(),
                Overdue(),
                chance.choice([3.0, 50.0, 5000.0, 100_000.0]),
            ],
            weights=[8, 2, 0.8, 4, 0.7, 2, 3, 0.6, 3, 6],
        )[0]
        if isinstance(what, float):
            await walk.pass_time(what)
            continue
        await walk.play(what)
        if isinstance(what, Claim) and walk.job.holder == worker:
            believes[worker] = walk.job.attempt
        seen.add(walk.job.state)
        beyond += walk.job.state in ENDS
        if beyond > 4:
            break
    await moves.owner.execute("delete from jobs where id = $1", walk.row)
    return seen


async def register(moves: Moves) -> None:
    codes = {"retry_codes": ["again"], "no_retry_codes": ["never"]}
    await moves.register(KIND, backoff_seconds=PAUSE, total_seconds=IN_ALL, **codes)


async def stroll_often(moves: Moves, walks: int) -> set[JobState]:
    await register(moves)
    seen: set[JobState] = set()
    for seed in range(walks):
        seen |= await stroll(moves, seed)
    return seen


async def test_the_schema_moves_a_job_exactly_as_the_module_does(moves: Moves) -> None:
    assert await stroll_often(moves, 60) == set(JobState) - {JobState.WAITING}


@pytest.mark.parametrize(
    ("functions", "rule", "instead"),
    [
        ("finish_job", "attempt = p_attempt and", ""),
        ("finish_job", "and cancel_requested_at is null", ""),
        ("fail_job", "and attempt = p_attempt", ""),
        ("release_job", "and attempt = p_attempt", ""),
        ("release_job", "v_job.cancel_requested_at is not null", "false"),
        ("reap_lost_jobs", "and lease_until < now()", ""),
        ("best_job choose_jobs", "j.available_at <= now()", "true"),
        ("claim_job", "attempt = attempt + 1", "attempt = attempt"),
        ("end_attempt", "p_job.cancel_requested_at is not null", "false"),
        ("end_attempt", "p_job.failures + 1 < p_job.max_failures", "true"),
        ("end_attempt", "p_job.end_by < now()", "false"),
        ("end_attempt", "any (v_kind.retry_codes)", "any ('{}'::text[])"),
        ("end_attempt", "any (v_kind.no_retry_codes)", "any ('{}'::text[])"),
        ("end_attempt", "power(2, p_job.failures)", "1"),
        ("end_attempt", "start_by = greatest(", "start_by = least("),
        ("fail_overdue_jobs", "and start_by < now()", ""),
        ("fail_overdue_jobs", "'queued') and end_by < now()", "'queued')"),
        ("fail_overdue_jobs", "- interval '30 seconds'", ""),
        ("fail_overdue_jobs", "state = 'running' and", "false and"),
        ("create_job", "secs => v_kind.total_seconds", "secs => null"),
        ("cancel_job", "sequence = sequence + 1", "sequence = sequence"),
        ("cancel_job", "v_job.cancel_requested_at is null", "true"),
    ],
)
async def test_a_rule_that_is_taken_out_of_the_schema_is_missed(
    moves: Moves, functions: str, rule: str, instead: str
) -> None:
    for function in functions.split():
        body = await moves.owner.fetchval(
            "select pg_get_functiondef(oid) from pg_proc where proname = $1", function
        )
        assert rule in body, "the rule is not where the test looks for it"
        await moves.owner.execute(body.replace(rule, instead))
    with pytest.raises((AssertionError, asyncpg.IntegrityConstraintViolationError)):
        await stroll_often(moves, 400)

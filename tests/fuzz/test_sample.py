"""A sample of the mutated files that `make fuzz-engine` sends through the engine, and the fuzzer itself."""

import asyncio
import inspect
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from services.processor.forks import Forks
from services.processor.pointcloud import failures
from shared.preflight import REFUSALS
from tests.fixtures.honest import chunked
from tests.fuzz.attempts import (
    ENGINE_CODES,
    Case,
    Verdict,
    adds_up,
    attempt,
    case,
    promised_points,
)
from tests.fuzz.mutations import MUTATIONS, parts_of
from tests.fuzz.seeds import seeds

RUN_SEED, COUNT, AT_ONCE = 20, 50, 2
SOUND = seeds()


@pytest.mark.slow
async def test_fifty_mutated_files_end_as_files_may(forks: Forks, tmp_path: Path) -> None:
    waiting, found = iter(range(COUNT)), []

    async def worker() -> None:
        for number in waiting:
            one = case(RUN_SEED, number, SOUND, all_products=0)
            folder = tmp_path / str(number)
            folder.mkdir()
            verdict = await attempt(forks, one, folder)
            if verdict.finding is not None:
                found.append(f"{one.name} {one.params}: {verdict.finding}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_a_case_is_made_again_from_its_number() -> None:
    for number in range(5):
        assert case(RUN_SEED, number, SOUND) == case(RUN_SEED, number, SOUND)
    assert case(RUN_SEED, 0, SOUND) != case(RUN_SEED + 1, 0, SOUND)


@pytest.mark.parametrize("mutation", list(MUTATIONS))
def test_a_mutation_changes_files_and_takes_every_seed(mutation: str) -> None:
    random, changed = np.random.default_rng(1), 0
    for seed, other in pairwise(SOUND):
        changed += MUTATIONS[mutation](random, seed.data, other.data) != seed.data
    assert changed > (1 if mutation == "flip tail" else len(SOUND) / 4)


def test_the_parts_of_a_file_are_all_of_it() -> None:
    for seed in SOUND:
        parts = parts_of(seed.data)
        assert parts.header[0] == 0
        assert [end for _, end in parts] == [*(start for start, _ in parts[1:]), len(seed.data)]


def test_every_code_of_the_engine_is_expected_by_name() -> None:
    """Except those that tell of the machine, which no file may bring about."""
    said = set(re.findall(r'TaskFailed\(\s*"(\w+)"', inspect.getsource(failures)))
    assert said - {"scratch_full", "scratch_failed"} <= ENGINE_CODES | set(REFUSALS)


async def test_a_sound_file_is_no_finding(forks: Forks, tmp_path: Path) -> None:
    seed = next(seed for seed in SOUND if seed.name == "laz-7")
    sound = Case(0, seed.name, "none", seed.data, seed.suffix, {"products": []})
    assert await attempt(forks, sound, tmp_path) == Verdict("succeeded")


async def test_a_salvage_works_inside_the_sandbox(forks: Forks, tmp_path: Path) -> None:
    cut = Case(0, "cut", "none", chunked(7, 1200, 500)[:-1], ".laz", {"salvage": True})
    assert await attempt(forks, cut, tmp_path) == Verdict("salvaged")


async def test_what_takes_too_long_is_a_finding(forks: Forks, tmp_path: Path) -> None:
    seed = next(seed for seed in SOUND if seed.name == "las-7")
    sound = Case(0, seed.name, "none", seed.data, seed.suffix, {"products": []})
    verdict = await attempt(forks, sound, tmp_path, 0.01)
    assert verdict.finding is not None
    assert "time_limit" in verdict.finding


def test_a_short_read_is_a_finding() -> None:
    loss = {
        "points_claimed": 1000,
        "points_rescued": 900,
        "points_lost": 100,
        "lost": [{"reason": "cut"}],
    }
    assert adds_up(loss, 1000, 900)
    assert not adds_up(loss, 1001, 900)
    assert not adds_up(loss, 1000, 899)
    assert not adds_up({**loss, "lost": []}, 1000, 900)
    seed = next(seed for seed in SOUND if seed.name == "las-7")
    assert promised_points(seed.data) == 400

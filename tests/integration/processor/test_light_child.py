"""The child that stays between batches: how long, for whom, and what ends it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from services.processor import light_child
from services.processor.forks import Forks
from services.processor.light_child import LightChild
from services.processor.runner import Answer, Order
from services.processor.watch import Bounds

MINE, YOURS = uuid4(), uuid4()


@asynccontextmanager
async def a_child(forks: Forks, scratch: Path, seconds: float = 20) -> AsyncIterator[LightChild]:
    order = Order("", {}, None, None, scratch, scratch, 1 << 30, 1, batches=True)
    child = LightChild(forks, order, Bounds(seconds=seconds, scratch_bytes=1 << 20), scratch)
    try:
        yield child
    finally:
        await child.leave()
        assert not await asyncio.to_thread(lambda: list(scratch.iterdir()))


def process(child: LightChild) -> int:
    """The child's process."""
    assert child._room is not None
    return child._room._child.pid


async def printed(child: LightChild, workspace: object, word: str) -> int:
    """Have a word printed for a workspace; the process that did it."""
    ((ending, log),) = await child.run("demo.print", workspace, [{"first": word}])  # type: ignore[arg-type]
    assert ending == Answer({"printed": f"{word} world"}, [])
    assert log.text() == f"{word} world"
    return process(child)


async def test_batches_of_a_workspace_share_a_child_and_those_of_another_never_meet_it(
    forks: Forks, tmp_path: Path
) -> None:
    async with a_child(forks, tmp_path) as child:
        await child.run("demo.print", None, [])
        warm = process(child)
        first = await printed(child, MINE, "one")
        second = await printed(child, MINE, "two")
        other = await printed(child, YOURS, "three")
        again = await printed(child, MINE, "four")
    assert warm == first == second
    assert len({first, other, again}) == 3


async def test_another_kind_has_another_child(forks: Forks, tmp_path: Path) -> None:
    async with a_child(forks, tmp_path) as child:
        first = await printed(child, MINE, "one")
        ((slept, _),) = await child.run("demo.sleep", MINE, [{"seconds": 0}])
        assert slept == Answer({"slept": 0}, [])
        assert process(child) != first


@pytest.mark.parametrize("limit", ["STAYS_SECONDS", "BUSY_SECONDS"])
async def test_a_child_that_has_lived_or_worked_for_long_is_replaced(
    forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    async with a_child(forks, tmp_path) as child:
        first = await printed(child, MINE, "one")
        monkeypatch.setattr(light_child, limit, 0.0)
        await child.leave_if_old()
        assert child._room is None
        assert await printed(child, MINE, "two") != first


async def test_a_child_that_dies_between_batches_costs_its_next_batch_nothing_but_a_rerun(
    forks: Forks, tmp_path: Path
) -> None:
    async with a_child(forks, tmp_path) as child:
        first = await printed(child, MINE, "one")
        os.killpg(first, signal.SIGKILL)
        assert await child.run("demo.print", MINE, [{"first": "two"}]) == []
        assert await printed(child, MINE, "two") != first


async def test_a_batch_that_is_stopped_halfway_is_told_as_far_as_it_came(
    forks: Forks, tmp_path: Path
) -> None:
    batch = [{"seconds": 0}, {"seconds": 0.1}, {"seconds": 60}, {"seconds": 0}]
    async with a_child(forks, tmp_path, seconds=2) as child:
        endings = await child.run("demo.sleep", MINE, batch)
        assert [ending for ending, _ in endings] == [
            Answer({"slept": 0}, []),
            Answer({"slept": 0.1}, []),
        ]
        assert child._room is None


async def test_a_child_that_left_a_file_is_not_used_again(forks: Forks, tmp_path: Path) -> None:
    async with a_child(forks, tmp_path) as child:
        first = await printed(child, MINE, "one")
        leave_a_file(tmp_path, 8)
        assert len(await child.run("demo.print", MINE, [{"first": "two"}])) == 1
        assert child._room is None
        assert await printed(child, MINE, "three") != first


async def test_a_child_that_takes_too_much_is_killed_and_its_batch_ends_there(
    forks: Forks, tmp_path: Path
) -> None:
    async with a_child(forks, tmp_path) as child:
        assert len(await child.run("demo.sleep", MINE, [{"seconds": 0}])) == 1
        leave_a_file(tmp_path, 2 << 20)
        assert await child.run("demo.sleep", MINE, [{"seconds": 15}]) == []
        assert child._room is None


def leave_a_file(scratch: Path, size: int) -> None:
    """Leave a file in the child's folder, as a job of its might."""
    (folder,) = scratch.iterdir()
    (folder / "left").write_bytes(b"x" * size)


async def test_one_whose_slot_is_cancelled_leaves_nobody_behind(
    forks: Forks, tmp_path: Path
) -> None:
    async with a_child(forks, tmp_path) as child:
        running = asyncio.create_task(child.run("demo.sleep", MINE, [{"seconds": 60}]))
        while child._room is None:
            await asyncio.sleep(0.01)
        pid = process(child)
        running.cancel()
        await asyncio.wait({running})
        assert child._room is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

"""The watch over an attempt: what its processes and files take together, measured on real ones."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.processor.forks import Forks
from services.processor.runner import LogTail, Order, run_child
from services.processor.watch import Bounds, watch
from shared.errors import TaskFailed

MEBIBYTE = 1 << 20


@asynccontextmanager
async def at_work(folder: Path, code: str) -> AsyncIterator[int]:
    """A process group that runs the code and then says that it is up; its number."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import os, time\n{code}\nos.write(1, b'up\\n'); time.sleep(60)",
        stdout=asyncio.subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"up\n"
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def stopped(folder: Path, code: str, bounds: Bounds) -> str | None:
    """The code with which the watch stops the work; None when it lets it be."""
    async with at_work(folder, code) as group:
        try:
            await asyncio.wait_for(watch(group, (folder,), bounds), 1.6)
        except TaskFailed as error:
            return error.code
        except TimeoutError:
            return None


EACH_HOLDS_ITS_OWN = "os.fork() and os.fork()\nheld = bytearray(os.urandom(1 << 20) * 60)"
ALL_SHARE_ONE = "held = bytearray(os.urandom(1 << 20) * 60)\nos.fork() and os.fork()"


async def test_memory_of_all_processes_counts_together(tmp_path: Path) -> None:
    bounds = Bounds(memory_bytes=140 * MEBIBYTE)
    assert await stopped(tmp_path, EACH_HOLDS_ITS_OWN, bounds) == "memory_limit"


async def test_memory_that_processes_share_counts_once(tmp_path: Path) -> None:
    bounds = Bounds(memory_bytes=140 * MEBIBYTE)
    assert await stopped(tmp_path, ALL_SHARE_ONE, bounds) is None


@pytest.mark.parametrize(
    ("megabytes", "code"), [(4, None), (12, "scratch_limit")], ids=["within", "over"]
)
@pytest.mark.parametrize(
    "write",
    [
        "os.makedirs('a/b')\nfor i in range({n}): open(f'a/b/{{i}}', 'wb').write(bytes(1 << 20))",
        "f = open('x', 'wb'); f.write(bytes({n} << 20)); f.flush(); os.unlink('x')",
        "f = open('x', 'wb'); f.write(bytes({n} << 20)); f.flush(); os.link('x', 'y')",
        "f = open('x', 'wb'); f.truncate(1 << 33); f.write(bytes({n} << 20)); f.flush()",
    ],
    ids=["deep", "deleted", "two names", "sparse"],
)
async def test_space_counts_wherever_it_is(
    tmp_path: Path, write: str, megabytes: int, code: str | None
) -> None:
    bounds = Bounds(scratch_bytes=7 * MEBIBYTE)
    assert await stopped(tmp_path, write.format(n=megabytes), bounds) == code


async def test_processes_are_counted(tmp_path: Path) -> None:
    many = "for _ in range(9):\n    if not os.fork(): time.sleep(60)"
    assert await stopped(tmp_path, many, Bounds(processes=8)) == "process_limit"
    assert await stopped(tmp_path, many, Bounds(processes=10)) is None


async def test_an_attempt_over_its_bounds_is_ended_and_not_retried(
    forks: Forks, tmp_path: Path
) -> None:
    order = Order("demo.sleep", {"seconds": 60}, None, None, tmp_path, tmp_path, 1 << 30, 1)
    before = count("memory_limit")
    with pytest.raises(TaskFailed) as caught:
        await run_child(
            forks,
            order,
            Bounds(memory_bytes=MEBIBYTE),
            on_progress=lambda _: None,
            log=LogTail(),
        )
    assert (caught.value.code, caught.value.retryable) == ("memory_limit", False)
    assert count("memory_limit") == before + 1


def count(reason: str) -> float:
    name = "pointmill_attempts_stopped_total"
    return REGISTRY.get_sample_value(name, {"reason": reason}) or 0

"""The process tree of an attempt: what it may not do, and every way it can end."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from services.processor import runner
from services.processor.forks import Forks
from services.processor.process_tree import ChildDied
from services.processor.runner import Answer, LogTail, Order, Retry, run_child
from services.processor.watch import Bounds
from shared.errors import PointmillError, TaskFailed

PROJECT = Path(__file__).parents[3]


def order(folder: Path, kind: str = "demo.sleep", **params: Any) -> Order:
    for name in ("out", "scratch"):
        (folder / name).mkdir(exist_ok=True)
    return Order(kind, params, None, None, folder / "out", folder / "scratch", 1 << 30, 1)


async def run(
    forks: Forks, order_: Order, seconds: float = 30, log: LogTail | None = None
) -> tuple[Answer, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    answer = await run_child(
        forks, order_, Bounds(seconds=seconds), on_progress=told.append, log=log or LogTail()
    )
    return answer, told


async def test_a_child_tells_its_progress_and_its_result(forks: Forks, tmp_path: Path) -> None:
    answer, told = await run(forks, order(tmp_path, seconds=0.3))
    assert answer == Answer({"slept": 0.3}, [])
    assert told[0] == {"stage": "sleeping", "fraction": 0.0, "message": "0.0 of 0.3 s"}
    assert [words["fraction"] for words in told] == sorted(words["fraction"] for words in told)
    # A kind that does not know how long it takes has it reckoned.
    assert 0.05 < told[1]["eta_seconds"] < 2


@pytest.mark.parametrize(
    ("ending", "error", "code"),
    [
        ("refuse", TaskFailed, "drill_refused"),
        ("crash", TaskFailed, "task_crashed"),
        ("out_of_memory", TaskFailed, "out_of_memory"),
        ("error", Retry, "task_error"),
    ],
)
async def test_every_bad_end_has_its_own_code(
    forks: Forks, tmp_path: Path, ending: str, error: type[PointmillError], code: str
) -> None:
    with pytest.raises(error) as caught:
        await run(forks, order(tmp_path, seconds=0, ending=ending))
    assert caught.value.code == code
    assert caught.value.remedy
    assert "Traceback" not in caught.value.detail


async def test_wrong_parameters_are_named(forks: Forks, tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match=r"params\.seconds") as caught:
        await run(forks, order(tmp_path, seconds=-1))
    assert caught.value.code == "invalid_params"


async def test_a_bug_leaves_its_trace_in_the_log_only(forks: Forks, tmp_path: Path) -> None:
    log = LogTail()
    with pytest.raises(Retry):
        await run(forks, order(tmp_path, seconds=0, ending="error"), log=log)
    assert "a bug that the drill asked for" in (log.text() or "")


async def test_too_long_is_stopped_and_said_so(forks: Forks, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(TaskFailed) as caught:
        await run(forks, order(tmp_path, seconds=60), seconds=1)
    assert caught.value.code == "time_limit"
    assert time.monotonic() - start < 5


async def test_a_cancelled_run_leaves_no_process(forks: Forks, tmp_path: Path) -> None:
    task = asyncio.create_task(run(forks, order(tmp_path, seconds=60)))
    pids = await wait_for_children(tmp_path)
    task.cancel()
    await asyncio.wait({task})
    assert pids
    assert not [pid for pid in pids if alive(pid)]


async def test_a_child_that_is_killed_may_be_tried_again(forks: Forks, tmp_path: Path) -> None:
    task = asyncio.create_task(run(forks, order(tmp_path, seconds=60)))
    for pid in await wait_for_children(tmp_path):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(ChildDied):
        await task


async def test_a_child_sees_no_secret_of_the_service(
    forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCESSOR_DATABASE_URL", "postgres://processor:canary@db/x")
    task = asyncio.create_task(run(forks, order(tmp_path, seconds=60)))
    try:
        for pid in await wait_for_children(tmp_path):
            assert b"canary" not in environment(pid)
    finally:
        task.cancel()
        await asyncio.wait({task})


async def wait_for_children(folder: Path) -> list[int]:
    """The processes that work in the folder, as soon as there are some."""
    async with asyncio.timeout(10):
        while not (found := [pid for pid in processes() if works_in(pid, folder)]):
            await asyncio.sleep(0.02)
    return found


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve().is_relative_to(folder)
    except OSError:
        return False


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    """A kill -9 of the service must leave nobody at work on a job that another will take."""
    code = (
        "import asyncio, sys; from pathlib import Path; from services.processor.runner import *\n"
        "from services.processor.forks import Forks; from services.processor.watch import Bounds\n"
        "f = Path(sys.argv[1])\n"
        "o = Order('demo.sleep', {'seconds': 60}, None, None, f / 'out', f / 'scratch', 1 << 30, 1)\n"
        "async def main(): await run_child(Forks(), o, Bounds(), on_progress=lambda p: print('up', flush=True), log=LogTail())\n"
        "asyncio.run(main())\n"
    )
    order(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=PROJECT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert b"up\n" in iter(parent.stdout.readline, b"")  # after what the runner logs
        pids = [pid for pid in processes() if works_in(pid, tmp_path)]
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 5
        while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert pids
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize(
    ("limit", "work", "expected"),
    [
        ("cpu_seconds=1", "while True: pass", -signal.SIGXCPU),
        ("memory_bytes=1 << 30", "bytearray(2 << 30)", 1),
        ("file_bytes=1 << 20", "open(sys.argv[1] + '/f', 'wb').write(bytes(2 << 20))", 1),
    ],
)
def test_a_limit_holds(tmp_path: Path, limit: str, work: str, expected: int) -> None:
    code = (
        "import sys; from services.processor.child import set_limits; from services.processor.task import Limits\n"
        f"set_limits(Limits({limit}))\n{work}\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        cwd=PROJECT,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == expected, ended.stderr


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (-signal.SIGSEGV, "task_crashed"),
        (-signal.SIGABRT, "task_crashed"),
        (1, "task_crashed"),
        (-signal.SIGXCPU, "cpu_limit"),
        (-signal.SIGXFSZ, "file_limit"),
        (-signal.SIGKILL, "worker_killed"),
    ],
)
def test_a_silent_end_is_told_apart_by_its_status(status: int, code: str) -> None:
    assert runner._silent_death(status, "demo.sleep").code == code


def test_the_log_keeps_the_tail_without_secrets_and_control_characters() -> None:
    log = LogTail()
    for number in range(300):
        log.add(f"line {number}\n".encode())
    log.add(b"postgres://processor:canary@db \x1b[31mred\x1b[0m\n")
    text = log.text() or ""
    assert len(text.splitlines()) == runner.LOG_LINES
    assert "canary" not in text
    assert "\x1b" not in text
    assert LogTail().text() is None


def test_an_order_says_no_more_than_the_child_needs(tmp_path: Path) -> None:
    assert set(json.loads(order(tmp_path).to_json())) == {
        "parent", "kind", "params", "source", "source_name", "out", "scratch", "memory_bytes", "workers",
        "sandbox", "inputs", "batches",
    }  # fmt: skip

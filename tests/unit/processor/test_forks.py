"""The fork server: what a fork brings along, whose child it is, and what outlives what."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from services.processor.forks import Forks, in_memory
from services.processor.process_tree import Child
from services.processor.runner import Order

CANARY = "postgres://processor:canary@db/x"


def order(folder: Path, kind: str = "demo.sleep", seconds: float = 60) -> bytes:
    return Order(kind, {"seconds": seconds}, None, None, folder, folder, 1 << 30, 1).to_json()


async def spawn(forks: Forks, kind: str, told: bytes, folder: Path) -> Child:
    with in_memory(told) as stdin:
        return await forks.spawn(kind, stdin, folder)


async def words(child: Child) -> str:
    """The first thing the child says: the level of its sandbox."""
    async with asyncio.timeout(20):
        return (await child.stdout.readline()).decode()


async def test_a_child_is_nobodys_but_ours(forks: Forks, tmp_path: Path) -> None:
    child = await spawn(forks, "demo.sleep", order(tmp_path), tmp_path)
    await words(child)
    assert (parent_of(child.pid), os.getpgid(child.pid)) == (os.getpid(), child.pid)
    assert working_folder(child.pid) == tmp_path
    await child.end()
    assert not exists(child.pid)


async def test_a_child_tells_its_status_or_its_signal(forks: Forks, tmp_path: Path) -> None:
    child = await spawn(forks, "demo.sleep", order(tmp_path, seconds=0), tmp_path)
    async with asyncio.timeout(20):
        assert await child.wait() == 0
    await child.end()
    child = await spawn(forks, "demo.sleep", order(tmp_path), tmp_path)
    os.kill(child.pid, signal.SIGSEGV)
    async with asyncio.timeout(20):
        assert await child.wait() == -signal.SIGSEGV
    await child.end()


async def test_a_fork_brings_no_secret_no_connection_and_no_thread(
    forks: Forks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCESSOR_DATABASE_URL", CANARY)
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)  # a library that forgot close-on-exec
        child = await spawn(
            forks, "pointcloud.ingest", order(tmp_path, "pointcloud.ingest"), tmp_path
        )
        assert forks.pid is not None
        for pid in (forks.pid, child.pid):
            assert b"canary" not in proc(pid, "environ")
            assert str(tmp_path / "secret") not in open_files(pid)
        assert threads(forks.pid) == 1
        await child.end()


async def test_the_next_child_of_a_kind_needs_no_import(forks: Forks, tmp_path: Path) -> None:
    for _ in range(2):
        child = await spawn(
            forks, "pointcloud.ingest", order(tmp_path, "pointcloud.ingest"), tmp_path
        )
        async with asyncio.timeout(20):
            await child.wait()
            spent = cpu_seconds(child.pid)
        await child.end()
        # Its parameters are refused; the libraries alone would take ten times as long.
        assert spent < 0.1
    assert forks.pid is not None
    assert b"libgdal" in proc(forks.pid, "maps")


async def test_children_outlive_the_fork_server_and_the_next_has_another(
    forks: Forks, tmp_path: Path
) -> None:
    first = await spawn(forks, "demo.sleep", order(tmp_path, seconds=1), tmp_path)
    server = forks.pid
    assert server is not None
    os.kill(server, signal.SIGKILL)
    async with asyncio.timeout(20):
        while exists(server) and not is_dead(server):
            await asyncio.sleep(0.01)
    second = await spawn(forks, "demo.sleep", order(tmp_path, seconds=0), tmp_path)
    assert forks.pid != server
    async with asyncio.timeout(20):
        assert (await first.wait(), await second.wait()) == (0, 0)
    await first.end()
    await second.end()


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.05, 0.5])
async def test_who_is_cancelled_while_waiting_for_a_child_leaves_none(
    forks: Forks, tmp_path: Path, seconds: float
) -> None:
    others = children()
    asking = asyncio.create_task(
        spawn(forks, "pointcloud.ingest", order(tmp_path, "pointcloud.ingest"), tmp_path)
    )
    await asyncio.sleep(seconds)  # the server is not there, or still starting, or importing
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()
    after = await spawn(forks, "demo.sleep", order(tmp_path, seconds=0), tmp_path)
    async with asyncio.timeout(20):
        await after.wait()
        await after.end()
        while children() - others != {forks.pid}:
            await asyncio.sleep(0.01)


async def test_an_end_reaches_whoever_the_child_has_started(forks: Forks, tmp_path: Path) -> None:
    child = await spawn(forks, "demo.sleep", order(tmp_path), tmp_path)
    await words(child)
    before = children()
    await child.end()
    assert children() == before - {child.pid}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children() -> set[int]:
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def is_dead(pid: int) -> bool:
    return b"\nState:\tZ" in proc(pid, "status")


def proc(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def working_folder(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


def open_files(pid: int) -> set[str]:
    return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""A cloud of twenty million points is milled in less than a gibibyte, over all processes."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import laspy
import numpy as np
import pytest

from services.processor.forks import Forks
from services.processor.runner import Answer, LogTail, Order, run_child
from services.processor.watch import Bounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

POINTS = 20_000_000
TILE = 1_000_000
GIBIBYTE = 1 << 30
SAMPLE_SECONDS = 0.1


@pytest.fixture
def large_cloud(tmp_path: Path) -> Iterator[Path]:
    """Strips of scan lines over hills, flown one after the other."""
    path = tmp_path / "large.laz"
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales = np.full(3, 0.001)
    tile = laspy.ScaleAwarePointRecord.zeros(TILE, header=header)
    number = np.arange(TILE)
    noise = np.random.default_rng(1).normal(0, 0.05, (3, TILE))
    x, y = number % 1000 * 0.5 + noise[0], number // 1000 * 0.5 + noise[1]
    tile.x, tile.y = x, y
    tile.z = 100 + 20 * np.sin(x / 90) * np.cos(y / 70) + noise[2]
    tile.intensity = 2000 + 5000 * noise[2]
    tile.classification = np.where(number % 5, 2, 5)
    tile.return_number = tile.number_of_returns = np.ones(TILE, np.uint8)
    tile.gps_time = number * 1e-5
    with laspy.open(path, "w", header=header, laz_backend=laspy.LazBackend.LazrsParallel) as writer:
        for strip in range(POINTS // TILE):
            writer.write_points(tile)
            tile["X"] += 500_000 if strip % 5 < 4 else -2_000_000
            tile["Y"] += 500_000 if strip % 5 == 4 else 0
            tile["gps_time"] += TILE * 1e-5
    yield path
    path.unlink()


def held_by(session: int) -> int:
    """Bytes that the processes of a session hold, shared pages counted once."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == session:
                rollup = (process / "smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0]) << 10
        except (OSError, IndexError):
            continue  # it has just ended
    return total


def children() -> set[int]:
    """This process's children."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


async def most_held(milling: "asyncio.Task[Answer]", before: set[int]) -> int:
    """The most memory that the process tree of the attempt held at any sample."""
    most = 0
    while not milling.done():
        for child in children() - before:
            most = max(most, await asyncio.to_thread(held_by, child))
        await asyncio.sleep(SAMPLE_SECONDS)
    return most


async def test_twenty_million_points_need_less_than_a_gibibyte_over_all_processes(
    forks: Forks, large_cloud: Path, tmp_path: Path, summarize: Callable[[str, str], None]
) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    order = Order(
        kind="pointcloud.ingest",
        params={},
        source=large_cloud,
        source_name="large.laz",
        out=out,
        scratch=scratch,
        memory_bytes=GIBIBYTE,
        workers=2,
    )
    log = LogTail()
    before = children()
    milling = asyncio.create_task(
        run_child(forks, order, Bounds(seconds=200), on_progress=lambda _: None, log=log)
    )
    try:
        most = await most_held(milling, before)
        answer = await milling
    finally:
        milling.cancel()
        for path in (*scratch.rglob("*"), *out.rglob("*.copc.laz")):
            if path.is_file():
                path.unlink()
    assert answer.result["points"] == POINTS, log.text()
    assert answer.result["nodes"] > POINTS // 100_000
    summarize("a large cloud", f"{POINTS} points: {most >> 20} MiB at most, all processes together")
    # Less than this would mean that the samples missed the work.
    assert 128 << 20 < most < GIBIBYTE, f"{most >> 20} MiB"

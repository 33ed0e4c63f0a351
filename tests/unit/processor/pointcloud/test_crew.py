"""Processes that share the work: deaths are answers, and nobody outlives the parent."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.processor.pointcloud.crew import Processes
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.octree.chunks import laz_record
from services.processor.pointcloud.octree.cube import stated_cube
from services.processor.pointcloud.plan import Plan, Range
from shared.errors import TaskFailed

WriteCloud = Callable[..., Path]
ROOT = Path(__file__).parents[4]


@pytest.fixture
def plan(write_cloud: WriteCloud, tmp_path: Path) -> Plan:
    source = read_source(write_cloud(points=5000))
    return Plan(source, "plain", stated_cube(source), tmp_path, 1, (), laz_record(7, 0))


@contextmanager
def crew_of(plan: Plan, size: int, seen: list[int] | None = None) -> Iterator[Processes]:
    crew = Processes(plan, (seen if seen is not None else []).append, size)
    try:
        yield crew
    finally:
        crew.close()


def pids(crew: Processes) -> list[int]:
    return [process.pid for process in crew._members.values()]


def parts(count: int) -> list[tuple[Range]]:
    return [(Range(at * 100, 100, f"points-{at:06d}"),) for at in range(count)]


def test_all_orders_are_done_whoever_does_them(plan: Plan) -> None:
    seen: list[int] = []
    with crew_of(plan, 2, seen) as crew:
        results = list(crew.each("distribute", parts(7)))
    assert sum(result.ranges.points for result in results) == 700
    assert sum(seen) == 700


def test_a_process_killed_by_a_signal_is_a_failure_that_names_it(plan: Plan) -> None:
    with crew_of(plan, 2) as crew:
        crew.all("harvest")
        # SIGSEGV would do as well, but a fork of pytest prints where it was.
        os.kill(pids(crew)[0], signal.SIGSYS)
        with pytest.raises(TaskFailed) as failure:
            list(crew.each("distribute", parts(40)))
    assert failure.value.code == "decoder_crashed"
    assert "SIGSYS" in failure.value.detail


def test_a_failure_in_a_process_keeps_its_code(plan: Plan) -> None:
    with crew_of(plan, 1) as crew, pytest.raises(TaskFailed) as failure:
        list(crew.each("distribute", [(Range(4990, 100, "points-000000"),)]))
    assert failure.value.code == "points_missing"


def test_a_mistake_of_ours_is_raised_as_one(plan: Plan) -> None:
    with crew_of(plan, 1) as crew, pytest.raises(RuntimeError, match="distribute: TypeError"):
        list(crew.each("distribute", [()]))


def test_no_process_is_left_when_the_crew_goes_home(plan: Plan) -> None:
    with crew_of(plan, 3) as crew:
        members = pids(crew)
        crew.all("harvest")
    assert not any(Path(f"/proc/{pid}").exists() for pid in members)


def test_processes_die_with_a_parent_that_is_killed(plan: Plan, tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "import pickle, sys, time\n"
        "from services.processor.pointcloud.crew import Processes\n"
        "plan = pickle.loads(open(sys.argv[1], 'rb').read())\n"
        "crew = Processes(plan, lambda points: None, 2)\n"
        "crew.all('harvest')\n"
        "print(*(process.pid for process in crew._members.values()), flush=True)\n"
        "time.sleep(60)\n"
    )
    order = tmp_path / "plan.pickle"
    order.write_bytes(pickle.dumps(plan))
    with subprocess.Popen(
        [sys.executable, program, order],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        members = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(members) == 2
        parent.kill()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in members):
        assert time.monotonic() < deadline, "a member outlived its parent"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    """Whether the process still runs; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""Processes that outlive their starter are found again, and never mistaken for others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import children
from deploy.local.children import Child, Command

IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(60)"
)


def python(code: str, stop_seconds: float = 5) -> Command:
    argv = [sys.executable, "-c", code]
    marker, cwd = sys.executable, Path("/")
    return Command(argv, dict(os.environ), cwd, marker, stop_seconds=stop_seconds)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "child.log"


@pytest.fixture
def sleeper(log: Path) -> Iterator[Child]:
    child = children.start(python("import time; time.sleep(60)"), log)
    yield child
    children.kill([child])


def test_a_started_child_runs_until_it_is_stopped(sleeper: Child) -> None:
    assert children.is_running(sleeper)
    children.stop([sleeper])
    assert not children.is_running(sleeper)


def test_a_child_is_known_again_by_its_notes_alone(sleeper: Child) -> None:
    noted = replace(sleeper, process=None)
    deadline = time.monotonic() + 10  # in its first moments it is still our wrapper
    while not children.is_running(noted) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children.is_running(noted)


@pytest.mark.parametrize("changed", [{"started": 1}, {"marker": "another program"}])
def test_another_process_under_the_same_id_is_not_taken_for_it(
    sleeper: Child, changed: dict[str, object]
) -> None:
    stranger = replace(sleeper, process=None, **changed)  # type: ignore[arg-type]
    assert not children.is_running(stranger)
    children.stop([stranger])
    assert children.is_running(sleeper)


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(log: Path) -> None:
    child = children.start(python(IGNORES_SIGTERM, stop_seconds=0.2), log)
    while "ready" not in log.read_text():
        time.sleep(0.01)
    children.stop([child])
    assert not children.is_running(child)


def test_a_tied_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from deploy.local import children;"
        "c = children.Command([sys.executable, '-c', 'import time; time.sleep(60)'], dict(os.environ),"
        " Path('/'), 'python', parent_death_signal='KILL');"
        "c.argv[2] = 'print(1, flush=True);' + c.argv[2];"
        f"log = Path({str(tmp_path / 'log')!r});"
        "print(children.start(c, log).pid, flush=True);"
        # It is tied once it runs; a parent that dies before that is not what is tried here.
        "[None for _ in iter(log.read_text, '1\\n')];"
        "os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    deadline = time.monotonic() + 5
    stat = Path(f"/proc/{int(parent.stdout)}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.02)


def test_a_stubborn_child_does_not_shorten_the_time_of_another(log: Path) -> None:
    slow = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), exit(7)));"
    )
    slow += "print('ready', flush=True); time.sleep(60)"
    patient = children.start(python(slow, stop_seconds=5), log)
    stubborn = children.start(python(IGNORES_SIGTERM, stop_seconds=0.2), log)
    while log.read_text().count("ready") < 2:
        time.sleep(0.01)
    children.stop([stubborn, patient])
    assert patient.process is not None
    assert patient.process.returncode == 7


def test_output_is_appended_and_a_large_log_is_set_aside(log: Path) -> None:
    for word in ("first", "second"):
        child = children.start(python(f"print({word!r})"), log)
        children.wait_gone([child], 5)
    assert log.read_text().split() == ["first", "second"]
    with log.open("ab") as file:
        file.truncate(17 << 20)
    children.wait_gone([children.start(python("print('third')"), log)], 5)
    assert log.read_text().split() == ["third"]
    assert log.with_suffix(".old").stat().st_size == 17 << 20


def test_the_tail_of_a_log_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    assert "no log" in children.tail(tmp_path / "none.log")

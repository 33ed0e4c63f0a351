"""A program's time and memory include those of everything it has started."""

import subprocess

import pytest

from tests.bench.engine.measuring import run_python

BUSY = """
import subprocess, sys, time
held = bytearray(64 << 20)
while time.process_time() < 0.4:
    held[::4096] = bytes(len(held) // 4096)
print("done", flush=True)
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""


def test_the_work_of_children_and_of_programs_at_the_same_time_is_added_up() -> None:
    taken = run_python(["-c", BUSY, BUSY], ["-c", BUSY], watch_memory=True)
    assert taken.output.split() == ["done"] * 3
    assert 1.2 <= taken.cpu < 3.0
    assert 64 << 20 < taken.held <= taken.highest
    assert taken.highest > 3 * (64 << 20)
    assert 0 <= taken.others <= 1


def test_a_program_that_fails_is_no_measurement() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_python(["-c", "raise SystemExit(3)"])

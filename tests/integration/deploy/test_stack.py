"""`make up`, `make down`, `make status`: what runs stays, what does not is started, nothing leaks."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.folder import CHECKOUT
from deploy.local.web import call

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
PARTS = ["postgres", "rabbitmq-epmd", "rabbitmq", "sinks", "gateway", "processor", "notifier"]


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "deploy.local", "--folder", str(folder), *words]


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(folder, *words), cwd=CHECKOUT, capture_output=True, text=True, check=False
    )


def notes(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return loaded


def pids(folder: Path) -> dict[str, int]:
    return {part: child["pid"] for part, child in notes(folder)["children"].items()}


def processes_of(folder: Path, passwords: list[str]) -> list[str]:
    """Every process, whoever started it, that was told of the folder or of one of its passwords."""
    words = [word.encode() for word in (str(folder), *passwords)]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if any(word in told for word in words):
            found.append(f"{process.name}: {told[:200].decode(errors='replace')}")
    return found


def passwords(folder: Path) -> list[str]:
    return [secret for name, secret in notes(folder)["secrets"].items() if ":" in name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stack") / ".local"
    try:
        done = run(folder, "up")
        assert done.returncode == 0, done.stdout + done.stderr
        known = passwords(folder)
        assert len(processes_of(folder, known)) >= len(PARTS) - 1
        yield folder
    finally:
        run(folder, "clean")
    assert processes_of(folder, known) == []


def test_everything_is_up_and_a_second_up_starts_nothing(folder: Path) -> None:
    before = pids(folder)
    began = time.monotonic()
    done = run(folder, "up")
    assert done.returncode == 0, done.stderr
    assert "nothing, it was up" in done.stdout
    assert pids(folder) == before
    assert time.monotonic() - began < 8
    status = run(folder, "status")
    assert status.returncode == 0, status.stdout
    assert [line.split()[0] for line in status.stdout.splitlines()] == PARTS


def test_the_environment_file_is_private_and_opens_the_api(folder: Path) -> None:
    assert (folder / "env").stat().st_mode & 0o777 == 0o600
    script = f"source {shlex.quote(str(folder / 'env'))} && env -0"
    shell = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    variables = dict(line.split("=", 1) for line in shell.stdout.decode().split("\0") if line)
    headers = {"Authorization": f"Bearer {variables['POINTMILL_API_KEY']}"}
    assert call("GET", f"{variables['POINTMILL_URL']}/v1/projects", headers=headers).status == 200
    for part in ("GATEWAY", "PROCESSOR", "NOTIFIER"):
        assert variables[f"{part}_DATABASE_URL"].startswith(f"postgresql://{part.lower()}:")


def test_what_was_killed_is_started_again_and_nothing_else(folder: Path) -> None:
    before = pids(folder)
    for part in ("gateway", "rabbitmq"):
        os.kill(before[part], signal.SIGKILL)
    time.sleep(0.2)
    assert run(folder, "status").returncode == 3
    done = run(folder, "up")
    assert done.returncode == 0, done.stderr
    after = pids(folder)
    assert {part for part in PARTS if before[part] != after[part]} == {"gateway", "rabbitmq"}


def test_the_demo_shows_the_cloud_its_products_and_who_was_told(folder: Path) -> None:
    for _ in range(2):  # the second time the hook and the town are there already
        done = run(folder, "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        for word in ("copc", "preview", "info", "certificate", "points", "Milled: town.laz"):
            assert word in done.stdout
        assert done.stdout.count("signature verified") == 1
        assert "/docs" in done.stdout
    assert (folder / "preview.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_beside_another_stack_leaves_nothing(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    other = tmp_path / ".local"
    with subprocess.Popen(command(other, "up"), cwd=CHECKOUT, stdout=subprocess.PIPE) as up:
        deadline = time.monotonic() + 30
        while not (other / "state.json").exists() or "postgres" not in notes(other)["children"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        up.send_signal(number)
        said = up.communicate(timeout=60)[0].decode()
    assert up.returncode == 128 + number
    assert "Interrupted" in said
    assert processes_of(other, passwords(other)) == []
    assert notes(other)["children"] == {}
    assert run(folder, "status").returncode == 0
    assert run(other, "clean").returncode == 0
    assert not other.exists()


def test_down_stops_everything_and_says_so(folder: Path) -> None:
    known = passwords(folder)
    done = run(folder, "down")
    assert done.returncode == 0, done.stderr
    assert all(part in done.stdout for part in PARTS)
    assert processes_of(folder, known) == []
    assert "Nothing was running" in run(folder, "down").stdout
    assert run(folder, "status").returncode == 3

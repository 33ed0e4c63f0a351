"""Processes that outlive the command which started them, and how they are found again."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.errors import StackError

_LARGE_LOG = 16 << 20


@dataclass(frozen=True)
class Account:
    """A user of this machine that a child runs as instead of the caller."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """What to start.

    Attributes:
        argv: the program and its arguments.
        env: the child's whole environment.
        cwd: a directory the child may enter.
        marker: a word of the running child's command line, by which it is known again.
        account: run as this user; None is the caller.
        stop_signal: what asks the child to stop in an orderly way.
        stop_seconds: how long it may take about it before it is killed.
        parent_death_signal: sent to the child when the thread that started it ends, so that
            nothing outlives a killed test run; None lets the child outlive its parent.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    marker: str
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    parent_death_signal: str | None = None

    @property
    def digest(self) -> str:
        """Changes with the program, its arguments and its environment."""
        parts = [*self.argv, *sorted(f"{name}={value}" for name, value in self.env.items())]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass
class Child:
    """A started process: the id alone may be another's by now, so its start time stands beside it.

    Attributes:
        pid: the process id, also that of its session and process group.
        started: ticks since boot at which it started, from /proc.
        marker: see `Command`.
        stop_signal: see `Command`.
        stop_seconds: see `Command`.
        digest: of the command that started it.
    """

    pid: int
    started: int
    marker: str
    stop_signal: int
    stop_seconds: float
    digest: str
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)


def start(command: Command, log: Path) -> Child:
    """Start `command` in a session of its own; its output is appended to `log`."""
    _set_aside_if_large(log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*as_account(command.account, command.parent_death_signal), *command.argv],
            env=dict(command.env),
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(
        pid=process.pid,
        started=_started(process.pid),
        marker=command.marker,
        stop_signal=command.stop_signal,
        stop_seconds=command.stop_seconds,
        digest=command.digest,
        process=process,
    )


def as_account(account: Account | None, parent_death_signal: str | None = None) -> list[str]:
    """The words before a program that run it as another user, tied to its parent if asked."""
    words: list[str] = []
    if account is not None:
        words += [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    if parent_death_signal is not None:
        words += ["--pdeathsig", parent_death_signal]
    if not words:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StackError("setpriv is missing; install it with: apt-get install -y util-linux")
    return [setpriv, *words, "--"]


def _set_aside_if_large(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LARGE_LOG:
            log.replace(log.with_suffix(".old"))


def _stat_fields(pid: int) -> list[str]:
    # The second field, the program's name in brackets, may itself hold spaces and brackets.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _started(pid: int) -> int:
    return int(_stat_fields(pid)[19])


def is_running(child: Child) -> bool:
    """Whether this very process is alive: same id, same start time, same command line."""
    try:
        fields = _stat_fields(child.pid)
        command_line = Path(f"/proc/{child.pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    if fields[0] in {"Z", "X"} or int(fields[19]) != child.started:
        if child.process is not None:
            child.process.wait()  # a dead child of ours stays a zombie until it is waited for
        return False
    # Within its first milliseconds the child is still our wrapper; then there is no other by this
    # id and start time anyway.
    return child.process is not None or child.marker.encode() in command_line


def send(child: Child, number: signal.Signals) -> None:
    """Send a signal to the child if it is alive."""
    if is_running(child):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)


def send_all(child: Child, number: signal.Signals) -> None:
    """Send a signal to the child's whole process group, whether or not the child still lives."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def stop(stopping: Iterable[Child]) -> None:
    """Ask all to stop at the same time, and kill each that has not after its own time."""
    asked = sorted(stopping, key=lambda child: child.stop_seconds)
    began = time.monotonic()
    for child in asked:
        send(child, signal.Signals(child.stop_signal))
    for child in asked:
        kill(wait_gone([child], began + child.stop_seconds - time.monotonic()))


def kill(killing: Iterable[Child]) -> None:
    """Kill all with whatever else is in their process groups, and wait until they are gone."""
    alive = [child for child in killing if is_running(child)]
    for child in alive:
        send_all(child, signal.SIGKILL)
    wait_gone(alive, 5.0)


def wait_gone(children: Iterable[Child], seconds: float) -> list[Child]:
    """Wait up to `seconds` for all to end and return those that have not."""
    deadline = time.monotonic() + seconds
    alive = [child for child in children if is_running(child)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.02)
        alive = [child for child in alive if is_running(child)]
    return alive


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (log is empty)"

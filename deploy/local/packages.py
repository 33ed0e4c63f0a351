"""Installs Debian packages without starting services or creating clusters."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from deploy.local.errors import StackError

POSTGRES = ("postgresql",)
RABBITMQ = ("rabbitmq-server",)

_POLICY = Path("/usr/sbin/policy-rc.d")
_CLUSTERS = Path("/etc/postgresql-common/createcluster.conf")
_CREATE = "create_main_cluster"
_MARK = "# Written by Pointmill while it installs packages"


def missing(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the packages that are not installed; all of them where there is no dpkg."""
    return tuple(name for name in wanted if not _is_installed(name))


def _is_installed(name: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", name],  # noqa: S607
        capture_output=True,
        check=False,
    )
    return asked.stdout == b"installed"


def install(wanted: tuple[str, ...]) -> None:
    """Install packages by apt, as root or through sudo; nothing is started or enabled.

    Raises:
        StackError: there is no apt, no right to use it, or it failed.
    """
    absent = missing(wanted)
    if not absent:
        return
    root = become_root(absent)
    print(f"Installing {', '.join(absent)} (apt-get).", flush=True)
    with _no_service_starts(root), _no_cluster(root, absent):
        _apt(root, absent)
    _disable(root, absent)


def become_root(wanted: tuple[str, ...]) -> list[str]:
    """The words before a command that make it run as root; a person is asked for the password.

    Raises:
        StackError: there is no apt or no right to use it; the message is the remedy.
    """
    remedy = _remedy(wanted)
    if shutil.which("apt-get") is None:
        raise StackError(f"{' and '.join(wanted)} must be installed; on Debian: {remedy}")
    if os.getuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is not None:
        # Without -n it asks for a password, and would hang where nobody is there to answer.
        if subprocess.run([sudo, "-n", "true"], check=False, capture_output=True).returncode == 0:
            return [sudo, "-n"]
        if sys.stdin.isatty() and subprocess.run([sudo, "-v"], check=False).returncode == 0:
            return [sudo]
    raise StackError(f"this needs root once: {remedy}")


def _remedy(wanted: tuple[str, ...]) -> str:
    return f"sudo apt-get install -y {' '.join(wanted)}"


def _apt(root: list[str], names: tuple[str, ...]) -> None:
    # A fresh machine's package lists are missing or old; they are fetched when the first try fails.
    with tempfile.TemporaryFile() as output:
        if _apt_get(root, output, "install", *names) == 0:
            return
        _apt_get(root, output, "update")
        if _apt_get(root, output, "install", *names) == 0:
            return
        output.seek(0)
        last = output.read().decode(errors="replace").splitlines()[-15:]
    said = "\n".join(f"    {line}" for line in last)
    raise StackError(f"apt-get could not install {', '.join(names)} ({_remedy(names)}):\n{said}")


def _apt_get(root: list[str], output: IO[bytes], *words: str) -> int:
    command = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-qq", "-y"]
    command += ["-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]
    command += ["--no-install-recommends", *words]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    ) as process:
        try:
            return process.wait()
        except BaseException:
            # Killed outright it could leave a package half installed; asked, it ends in order.
            process.send_signal(signal.SIGINT)
            raise


@contextlib.contextmanager
def _no_service_starts(root: list[str]) -> Iterator[None]:
    """Debian's own switch: while policy-rc.d says 101, no package starts a service.

    Ours looks whether this process is alive, so that one left behind by a power cut has no effect.
    """
    _put_back(root, _POLICY)
    if _POLICY.exists():
        asked = subprocess.run([_POLICY, "x", "start"], check=False, capture_output=True)
        if asked.returncode == 101:
            yield
            return
    script = f"#!/bin/sh\n{_MARK}.\nkill -0 {os.getpid()} 2>/dev/null && exit 101\nexit 0\n"
    with _replaced(root, _POLICY, script, "755"):
        yield


@contextlib.contextmanager
def _no_cluster(root: list[str], names: tuple[str, ...]) -> Iterator[None]:
    """Keep Debian from creating a cluster of its own when PostgreSQL is first installed."""
    if not set(names) & set(POSTGRES):
        yield
        return
    # The file belongs to postgresql-common, which creates no cluster; so that one comes first.
    _apt(root, ("postgresql-common",))
    _put_back(root, _CLUSTERS)
    lines = [line for line in _CLUSTERS.read_text().splitlines() if _CREATE not in line]
    text = "\n".join([*lines, f"{_MARK}.", f"{_CREATE} = false", ""])
    with _replaced(root, _CLUSTERS, text, "644"):
        yield


@contextlib.contextmanager
def _replaced(root: list[str], path: Path, text: str, mode: str) -> Iterator[None]:
    """Another text for a system's file during this block; the file is put back as it was."""
    if path.exists():
        _run(root, "cp", "-p", str(path), str(_kept(path)))
    written = subprocess.DEVNULL
    subprocess.run([*root, "tee", str(path)], input=text.encode(), stdout=written, check=True)
    _run(root, "chmod", mode, str(path))
    try:
        yield
    finally:
        _put_back(root, path)


def _put_back(root: list[str], path: Path) -> None:
    """Undo `_replaced`, also one of a run that was killed; without one this changes nothing."""
    if _kept(path).exists():
        _run(root, "mv", str(_kept(path)), str(path))
    elif path.exists() and _MARK in path.read_text(errors="replace"):
        _run(root, "rm", str(path))


def _kept(path: Path) -> Path:
    return path.with_name(f"{path.name}.pointmill-kept")


def _run(root: list[str], *words: str) -> None:
    subprocess.run([*root, *words], check=True)


def _disable(root: list[str], names: tuple[str, ...]) -> None:
    """Keep what was installed just now from starting at the next boot."""
    if shutil.which("systemctl") is None:
        return
    units: list[str] = []
    if set(names) & set(RABBITMQ):
        units += ["rabbitmq-server.service", "epmd.service", "epmd.socket"]
    if set(names) & set(POSTGRES):
        units += ["postgresql.service"]
    for unit in units:
        subprocess.run([*root, "systemctl", "disable", unit], check=False, capture_output=True)

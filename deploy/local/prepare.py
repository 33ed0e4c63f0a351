"""Makes a machine ready: the virtual environment and the servers' packages, both at the same time.

    python3 -m deploy.local.prepare [--servers] [--npm FOLDER]

Runs under the system's Python 3.11 with the standard library alone. What is there is left alone.
"""

import argparse
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from deploy.local import packages, providers
from deploy.local.errors import StackError
from deploy.local.folder import CHECKOUT
from deploy.local.interrupts import Interrupted, Interrupts

VENV = CHECKOUT / ".venv"
LOCK = CHECKOUT / "requirements" / "development.txt"
_STAMP = VENV / ".pointmill"


def fingerprint() -> str:
    """Changes when the environment has to be made again: with the lock and with what is installed.

    Of pyproject.toml only the parts that the installation depends on count; a new lint rule does
    not.
    """
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    installed = {
        "build": project["build-system"],
        "project": project["project"],
        "setuptools": project["tool"]["setuptools"],
        "place": str(VENV),
    }
    digest = hashlib.sha256(LOCK.read_bytes())
    digest.update(repr(installed).encode())
    return digest.hexdigest()


def make_venv() -> None:
    """Create or update `.venv` from the lock, unless it is up to date.

    Raises:
        StackError: a package could not be installed.
    """
    python = VENV / "bin" / "python"
    wanted = fingerprint()
    works = python.exists() and _succeeds([str(python), "-c", ""])
    if works and _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    began = time.monotonic()
    print("Installing the Python packages into .venv.", flush=True)
    if not works:
        shutil.rmtree(VENV, ignore_errors=True)
        _create_venv()
    _STAMP.unlink(missing_ok=True)
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    pip = _pip(python)
    _run([*pip, "install", *quiet, "--require-hashes", "-r", str(LOCK)])
    # The project itself, without its dependencies: those come from the lock only.
    editable = ["--no-deps", "--no-build-isolation", "-e", str(CHECKOUT)]
    _run([*pip, "install", *quiet, *editable])
    _STAMP.write_text(wanted)
    print(f"Python packages are there ({time.monotonic() - began:.0f} s).", flush=True)


def _create_venv() -> None:
    """Debian keeps ensurepip apart; where it is missing, pip installs into the environment."""
    if importlib.util.find_spec("ensurepip") is not None:
        _run([sys.executable, "-m", "venv", str(VENV)])
        return
    if importlib.util.find_spec("pip") is None:
        packages.install(("python3-venv",))
        _run(["/usr/bin/python3", "-m", "venv", str(VENV)])
        return
    _run([sys.executable, "-m", "venv", "--without-pip", str(VENV)])


def _pip(python: Path) -> list[str]:
    if _succeeds([str(python), "-m", "pip", "--version"]):
        return [str(python), "-m", "pip"]
    return [sys.executable, "-m", "pip", "--python", str(python)]


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _run(command: Sequence[str]) -> None:
    if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode != 0:
        raise StackError(f"this did not work, see above: {' '.join(command)}")


def missing_servers() -> tuple[str, ...]:
    """The packages of PostgreSQL and RabbitMQ, as far as neither is here nor elsewhere by URL."""
    wanted: list[str] = []
    if providers.external("DATABASE") is None and providers.postgres() is None:
        wanted += packages.POSTGRES
    if providers.external("AMQP") is None and providers.rabbitmq() is None:
        wanted += packages.RABBITMQ
    return tuple(wanted)


def install_servers() -> None:
    """Install what of PostgreSQL and RabbitMQ is missing."""
    wanted = missing_servers()
    if wanted:
        began = time.monotonic()
        packages.install(wanted)
        print(f"{', '.join(wanted)}: installed ({time.monotonic() - began:.0f} s).", flush=True)


def install_npm(folder: Path) -> None:
    """Install the JavaScript packages that the tests in `folder` need."""
    if not (folder / "package.json").exists():
        return
    if shutil.which("npm") is None:
        packages.install(("nodejs", "npm"))
    lock = folder / "package-lock.json"
    stamp = folder / "node_modules" / ".pointmill"
    wanted = hashlib.sha256((lock if lock.exists() else folder / "package.json").read_bytes())
    if stamp.exists() and stamp.read_text() == wanted.hexdigest():
        return
    print(f"Installing the JavaScript packages of {folder.relative_to(CHECKOUT)}.", flush=True)
    verb = "ci" if lock.exists() else "install"
    _run(["npm", verb, "--prefix", str(folder), "--no-audit", "--no-fund", "--loglevel=error"])
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(wanted.hexdigest())


def _prepare(arguments: argparse.Namespace) -> None:
    """Run apt in a process of its own while pip works: each mostly waits for its downloads."""
    servers: subprocess.Popen[bytes] | None = None
    try:
        if arguments.servers and (wanted := missing_servers()):
            packages.become_root(wanted)  # asks, or refuses, before anything takes time
            again = [sys.executable, "-m", "deploy.local.prepare", "--only-servers"]
            servers = subprocess.Popen(again, cwd=CHECKOUT)
        make_venv()
        _await(servers)
        if arguments.npm is not None:
            install_npm(arguments.npm.resolve())
    except BaseException:
        if servers is not None:
            servers.terminate()
            servers.wait()
        raise


def _await(servers: "subprocess.Popen[bytes] | None") -> None:
    if servers is not None and servers.wait() != 0:
        raise StackError("the servers could not be installed; see above")


def main() -> int:
    """The command line; exit status 0 when everything is there."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.local.prepare", description=__doc__)
    parser.add_argument("--servers", action="store_true", help="PostgreSQL and RabbitMQ, too")
    parser.add_argument("--only-servers", action="store_true", help="not the Python packages")
    parser.add_argument("--npm", type=Path, help="the JavaScript packages of this folder, too")
    arguments = parser.parse_args()
    try:
        with Interrupts():
            if arguments.only_servers:
                install_servers()
            else:
                _prepare(arguments)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        return 128 + interrupted.number
    return 0


if __name__ == "__main__":
    sys.exit(main())

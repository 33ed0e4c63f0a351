"""Where PostgreSQL and RabbitMQ come from; the first that fits is used and said."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from deploy.local import packages
from deploy.local.errors import StackError

_OLDEST_POSTGRES = 15


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL installation: its programs and its major version."""

    binaries: Path
    major: int


@dataclass(frozen=True)
class RabbitMQ:
    """A RabbitMQ installation.

    Attributes:
        server: its own start script, not Debian's wrapper, which insists on a user of its own.
        epmd: Erlang's name server.
    """

    server: Path
    epmd: Path


@dataclass(frozen=True)
class External:
    """A server that somebody else runs, by its address."""

    url: str


def external(name: str) -> External | None:
    """The server that `POINTMILL_EXTERNAL_<name>_URL` names, if it is set."""
    url = os.environ.get(f"POINTMILL_EXTERNAL_{name}_URL", "").strip()
    return External(url) if url else None


def postgres() -> Postgres | None:
    """The newest PostgreSQL on this machine that is new enough."""
    found = [server for server in map(_postgres_in, _postgres_folders()) if server is not None]
    fit = [server for server in found if server.major >= _OLDEST_POSTGRES]
    return max(fit, key=lambda server: server.major, default=None)


def postgres_of(major: int) -> Postgres | None:
    """The PostgreSQL on this machine with exactly this major version."""
    for folder in _postgres_folders():
        server = _postgres_in(folder)
        if server is not None and server.major == major:
            return server
    return None


def _postgres_folders() -> Iterable[Path]:
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    yield from sorted(Path("/usr").glob("pgsql-*/bin"))
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _postgres_in(folder: Path) -> Postgres | None:
    if not (folder / "postgres").exists() or not (folder / "initdb").exists():
        return None
    told = subprocess.run([folder / "postgres", "--version"], capture_output=True, check=False)
    match = re.search(rb"\(PostgreSQL\) (\d+)", told.stdout)
    return Postgres(folder, int(match[1])) if match else None


def rabbitmq() -> RabbitMQ | None:
    """The RabbitMQ on this machine."""
    scripts = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    on_path = shutil.which("rabbitmq-server")
    # Debian's wrapper in /usr/sbin belongs to the installation just looked for.
    if on_path is not None and on_path != "/usr/sbin/rabbitmq-server":
        scripts.append(Path(on_path).resolve())
    epmd = shutil.which("epmd")
    if not scripts or epmd is None:
        return None
    return RabbitMQ(scripts[-1], Path(epmd))


_Server = TypeVar("_Server")


def found_or_installed(
    name: str, look: Callable[[], _Server | None], wanted: tuple[str, ...], variable: str
) -> _Server:
    """Look for a server; where it is missing, install its packages and look again.

    Args:
        name: what a person calls it.
        look: finds it on this machine.
        wanted: the Debian packages that bring it.
        variable: the environment variable that would name one which runs elsewhere.

    Raises:
        StackError: it is not there and cannot be installed; the message is the remedy.
    """
    server = look()
    if server is not None:
        return server
    packages.install(wanted)
    server = look()
    if server is None:
        raise StackError(
            f"{name} is not here: install it (sudo apt-get install -y {' '.join(wanted)}) "
            f"or set {variable}"
        )
    return server

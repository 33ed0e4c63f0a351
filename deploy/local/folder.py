"""The stack's folder: its notes (ports, passwords, process ids), its logs and its data."""

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.local import ports
from deploy.local.children import Account, Child, as_account, is_running
from deploy.local.errors import StackError

CHECKOUT = Path(__file__).resolve().parents[2]
_VERSION = 1
_CHILD_FIELDS = ("pid", "started", "marker", "stop_signal", "stop_seconds", "digest")


@dataclass
class Notes:
    """What `state.json` holds; readable by its owner only, since passwords stand in it.

    Attributes:
        folder: where the notes were made, so that a copied folder is noticed.
        ports: part of the stack -> TCP port on 127.0.0.1.
        secrets: name -> password or key, each made once.
        children: part of the stack -> the process that runs it.
    """

    folder: str
    version: int = _VERSION
    ports: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)


class Folder:
    """A state folder. Its notes are written back after every change."""

    def __init__(self, path: Path) -> None:
        """Name the folder; `open` creates or reads it."""
        self.path = path.resolve()
        self.notes = Notes(str(self.path))

    @property
    def logs(self) -> Path:
        """Where each part logs to `<part>.log`."""
        return self.path / "logs"

    def log(self, part: str) -> Path:
        """The log of one part."""
        return self.logs / f"{part}.log"

    def open(self) -> None:
        """Create the folder if it is missing, and read its notes."""
        try:
            # Passable for the user PostgreSQL runs as, listable for the owner only.
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            text = self._file.read_text()
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise StackError(
                f"{self.path} belongs to another user ({error.strerror}); "
                "work on this stack as that user"
            ) from error
        self.notes = self._parsed(text)
        self._refuse_a_copy()

    @property
    def _file(self) -> Path:
        return self.path / "state.json"

    def _parsed(self, text: str) -> Notes:
        try:
            raw = json.loads(text)
            raw["children"] = {part: Child(**child) for part, child in raw["children"].items()}
            notes = Notes(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StackError(
                f"{self._file} cannot be used ({error}); `make clean` starts afresh"
            ) from error
        if notes.version != _VERSION:
            raise StackError(
                f"{self._file} is of version {notes.version}, not {_VERSION}; "
                "`make clean` starts afresh"
            )
        return notes

    def _refuse_a_copy(self) -> None:
        origin = Path(self.notes.folder)
        if origin == self.path:
            return
        if (origin / "state.json").exists():
            raise StackError(
                f"{self.path} is a copy of {origin}; `make clean` here gives this checkout its own"
            )
        self.notes.folder = str(self.path)  # the checkout was moved, its stack with it

    def save(self) -> None:
        """Write the notes, whole or not at all, readable by the owner only."""
        fresh = self._file.with_suffix(".new")
        raw = asdict(Notes(self.notes.folder, ports=self.notes.ports, secrets=self.notes.secrets))
        raw["children"] = {
            part: {name: getattr(child, name) for name in _CHILD_FIELDS}
            for part, child in self.notes.children.items()
        }
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(raw, file, indent=2)
        fresh.replace(self._file)

    @contextlib.contextmanager
    def lock(self, seconds: float = 300) -> Iterator[None]:
        """Let one command at a time change the stack."""
        with (self.path / "lock").open("a") as file:
            deadline = time.monotonic() + seconds
            said = False
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StackError(
                            f"another command has held {file.name} for {seconds:.0f} s; try again"
                        ) from None
                    if not said:
                        print("Another command is at work on this stack; waiting for it.")
                        said = True
                    time.sleep(0.2)
            yield

    def secret(self, name: str, size: int = 24) -> str:
        """The secret of this name, made at first use: `size` random bytes in hexadecimal."""
        if name not in self.notes.secrets:
            self.notes.secrets[name] = secrets.token_hex(size)
            self.save()
        return self.notes.secrets[name]

    def port(self, part: str) -> int:
        """The port of a part that is about to start: its old one if that is still free."""
        known = self.notes.ports.get(part)
        if known is not None and ports.is_free(known):
            return known
        taken = set(self.notes.ports.values())
        port = ports.choose(taken, f"{self.path} {part}")
        if known is not None:
            print(f"Port {known} is taken by another program; {part} moves to {port}.")
        self.notes.ports[part] = port
        self.save()
        return port

    def child(self, part: str) -> Child | None:
        """The part's process if it is running."""
        child = self.notes.children.get(part)
        return child if child is not None and is_running(child) else None

    def keep(self, part: str, child: Child) -> None:
        """Note which process runs a part."""
        self.notes.children[part] = child
        self.save()

    def forget(self, part: str) -> None:
        """Note that a part was stopped."""
        if self.notes.children.pop(part, None) is not None:
            self.save()

    def data(self, part: str, account: Account | None) -> Path:
        """A part's data folder, one its account can reach; not created here.

        A checkout below a private home (`/root` has mode 0700) is out of reach for the user that
        PostgreSQL runs as; the data then stand in /var/tmp under a name made of the folder's.
        """
        if account is None or _reaches(account, self.path):
            return self.path / part
        return self._elsewhere / part

    @property
    def _elsewhere(self) -> Path:
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return Path(f"/var/tmp/pointmill-{os.getuid()}-{digest}")  # noqa: S108 -- owner is checked

    def make_private(self, path: Path, account: Account | None) -> None:
        """Create a folder only its account may enter, and the folder above it if need be."""
        if path.parent == self._elsewhere:
            path.parent.mkdir(mode=0o711, exist_ok=True)
            if path.parent.stat().st_uid != os.getuid():
                raise StackError(f"{path.parent} belongs to another user; remove it")
        path.mkdir(mode=0o700)
        if account is not None:
            os.chown(path, account.uid, account.gid)

    def remove(self) -> None:
        """Delete everything, the data outside the checkout included."""
        for path in (self.path, self._elsewhere):
            shutil.rmtree(path, ignore_errors=True)


def for_people(path: Path) -> str:
    """A path as one would type it in the checkout."""
    return shlex.quote(str(path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path))


def unprivileged() -> Account | None:
    """Whom PostgreSQL runs as: the caller, or for root (which it refuses) postgres or nobody."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise StackError(
        "PostgreSQL refuses to run as root and there is no user postgres or nobody to run it as"
    )


def _reaches(account: Account, path: Path) -> bool:
    # "test -x" as that user asks the kernel, which also knows about ACLs and mounts.
    return subprocess.run([*as_account(account), "test", "-x", path], check=False).returncode == 0

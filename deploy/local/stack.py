"""The local stack as a whole: up, down, status. Whatever runs is left running; the rest is started."""

import asyncio
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local import children, postgres, rabbitmq, services
from deploy.local.children import Child
from deploy.local.errors import StackError
from deploy.local.folder import Folder
from deploy.local.interrupts import Interrupts
from deploy.local.providers import external
from deploy.local.servers import Broker, Database, storage_url
from deploy.local.services import SERVICES, SINKS, SINKS_SMTP, Surroundings
from deploy.local.web import call

READY_SECONDS = 60.0
_PARTS = (postgres.PART, rabbitmq.EPMD, rabbitmq.PART, SINKS, *SERVICES)
_DEPENDENCIES = {"DATABASE": {postgres.PART}, "AMQP": {rabbitmq.EPMD, rabbitmq.PART}}


@dataclass(frozen=True)
class Row:
    """One line of `make status`."""

    part: str
    state: str
    pid: int | None
    url: str


class Stack:
    """A stack in its folder.

    Attributes:
        folder: its notes, logs and data.
        started: the parts that this command started, in order; an interrupt stops them again.
    """

    def __init__(self, folder: Folder, interrupts: Interrupts) -> None:
        """Nothing is read or started yet."""
        self.folder = folder
        self.started: list[str] = []
        self._interrupts = interrupts

    def up(self) -> None:
        """Start what does not run and wait until everything is ready.

        Raises:
            StackError: a part cannot be started; whatever this call started is stopped again.
        """
        self.folder.open()
        with self.folder.lock():
            try:
                self._up()
            except BaseException:
                self.undo()
                raise

    def _up(self) -> None:
        database, broker = Database(self.folder), Broker(self.folder)
        # Both start at the same time; RabbitMQ takes longest and so comes first.
        for line in (broker.start(self._keep), database.start(self._keep)):
            print(line, flush=True)
        storage, line = storage_url(self.folder)
        print(line, flush=True)
        asyncio.run(database.prepare(self.api_key, services.MEMBER))
        asyncio.run(broker.prepare())
        around = self._surroundings(database, broker, storage)
        for part in (SINKS, *SERVICES):
            self._keep_service(part, around)
        for part in (SINKS, *SERVICES):
            self._wait_ready(part, around)
        self._write_environment(around, database, broker)

    @property
    def api_key(self) -> str:
        """The workspace's first key, made once."""
        secret = self.folder.secret
        return f"pm_{secret('api-key:id', 4)}_{secret('api-key:secret', 24)}"

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.folder.notes.ports['gateway']}"

    @property
    def sinks_url(self) -> str:
        """The sinks' address."""
        return f"http://127.0.0.1:{self.folder.notes.ports[SINKS]}"

    def _keep(self, part: str, start: Callable[[], Child]) -> Child:
        """The part's process; started and noted at one go if it does not run."""
        running = self.folder.child(part)
        if running is not None:
            return running
        with self._interrupts.held():
            child = start()
            self.folder.keep(part, child)
            self.started.append(part)
        return child

    def _surroundings(self, database: Database, broker: Broker, storage: str) -> Surroundings:
        for part in (SINKS, SINKS_SMTP, *SERVICES):
            owner = SINKS if part == SINKS_SMTP else part
            if self.folder.child(owner) is None:
                self.folder.port(part)
        scratch = self.folder.path / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        return Surroundings(
            database={part: database.url(part) for part in SERVICES},
            amqp={part: broker.url(part) for part in SERVICES},
            storage=storage,
            ports=self.folder.notes.ports,
            scratch=scratch,
            data=self.folder.path / "sinks",
            signing=self.folder.secret("gateway:signing", 32),
        )

    def _keep_service(self, part: str, around: Surroundings) -> None:
        command = services.command(part, around)
        running = self.folder.child(part)
        if running is not None and running.digest != command.digest:
            print(f"{part}: restarted, its settings changed")
            children.stop([running])
        self._keep(part, lambda: children.start(command, self.folder.log(part)))

    def _wait_ready(self, part: str, around: Surroundings) -> None:
        url = services.readiness(part, around)
        deadline = time.monotonic() + READY_SECONDS
        said = "no answer"
        while time.monotonic() < deadline and self.folder.child(part) is not None:
            try:
                answer = call("GET", url, timeout=5)
            except OSError:
                time.sleep(0.05)
                continue
            if answer.status == 200:
                return
            said = f"{answer.status} {answer.body.decode(errors='replace')[:300]}"
            time.sleep(0.1)
        ended = self.folder.child(part) is None
        why = "it ended" if ended else f"not ready after {READY_SECONDS:.0f} s, {url}: {said}"
        log = self.folder.log(part)
        raise StackError(f"{part} did not start: {why}\n{children.tail(log)}\n  More in {log}")

    def _write_environment(self, around: Surroundings, database: Database, broker: Broker) -> None:
        """Write `.local/env`, to be sourced by a shell."""
        lines = {
            "POINTMILL_URL": around.url("gateway"),
            "POINTMILL_API_KEY": self.api_key,
            "POINTMILL_SINKS_URL": around.url(SINKS),
            "MIGRATE_DATABASE_URL": database.url(postgres.OWNER),
            "POINTMILL_AMQP_ADMIN_URL": broker.admin_url,
        }
        for part in SERVICES:
            lines |= services.variables(part, around)
        text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items())
        fresh = self.folder.path / "env.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"# Written by `make up`; use it with: source {self.env_file}\n{text}")
        fresh.replace(self.env_file)

    @property
    def env_file(self) -> Path:
        """The variables of this stack, for a shell."""
        return self.folder.path / "env"

    def undo(self) -> None:
        """Stop what this command started, and nothing else."""
        with self._interrupts.held():
            self._stop([part for part in _PARTS if part in self.started])
            self.started.clear()

    def down(self) -> list[str]:
        """Stop everything that runs and return its names."""
        self.folder.open()
        with self.folder.lock(), self._interrupts.held():
            running = [part for part in _PARTS if self.folder.child(part) is not None]
            self._stop(running)
            return running

    def _stop(self, parts: list[str]) -> None:
        """Stop the services before the servers they use, so that they can say goodbye."""
        for together in ({SINKS, *SERVICES}, {postgres.PART, rabbitmq.PART}, {rabbitmq.EPMD}):
            stopping = [part for part in parts if part in together]
            running = [self.folder.child(part) for part in stopping]
            children.stop(child for child in running if child is not None)
            for part in stopping:
                self.folder.forget(part)

    def status(self) -> list[Row]:
        """How each part is."""
        self.folder.open()
        return [self._row(part) for part in _PARTS]

    def _row(self, part: str) -> Row:
        for name, parts in _DEPENDENCIES.items():
            if part in parts and external(name) is not None:
                return Row(part, "external", None, "")
        child = self.folder.child(part)
        ports = self.folder.notes.ports
        url = ""
        if part in ports:
            web = part in {SINKS, *SERVICES}
            url = f"http://127.0.0.1:{ports[part]}" if web else f"127.0.0.1:{ports[part]}"
        if child is None:
            return Row(part, "stopped", None, "")
        return Row(part, self._health(part), child.pid, url)

    def _health(self, part: str) -> str:
        if part not in SERVICES:
            return "running"
        try:
            url = f"http://127.0.0.1:{self.folder.notes.ports[part]}/readyz"
            return "ready" if call("GET", url, timeout=3).status == 200 else "not ready"
        except OSError:
            return "no answer"

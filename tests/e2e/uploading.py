"""Sending files through a running system, as a client does, and what became of them."""

import asyncio
import io
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.fixtures.broker import Broker
from tests.fixtures.database import Database
from tests.fixtures.servers import Servers
from tests.fixtures.system import System, running_system

SLOTS = 2
NOT_OF_ITS_OWN = ("internal_error", "task_error", "task_crashed", "worker_", "time_limit")
"""Codes (or their beginnings) that say nothing about a file."""


@dataclass(frozen=True)
class Upload:
    """A file to send; `name` is what the system is told that it is called."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Ended:
    """What became of an upload.

    Attributes:
        state: `succeeded` or `failed` as the job's, or `refused` by the gateway.
        error: the job's error or the gateway's problem; None where the job succeeded.
        job: the job as it ended; None where the gateway refused the file.
        seconds: how long the processor worked on it, start and finish included.
    """

    name: str
    state: str
    error: dict[str, Any] | None
    job: dict[str, Any] | None
    seconds: float

    @property
    def code(self) -> str | None:
        """The error's code."""
        return self.error["code"] if self.error else None

    @property
    def result(self) -> dict[str, Any]:
        """The result of a job that succeeded."""
        assert self.job is not None, self.error
        assert self.job["state"] == "succeeded", self.error
        result: dict[str, Any] = self.job["result"]
        return result

    @property
    def says_why(self) -> bool:
        """Whether the error has a code of its own and the sentences that go with it."""
        if self.error is None or self.error["code"].startswith(NOT_OF_ITS_OWN):
            return False
        if self.job is None:
            return bool(self.error["title"] and self.error["errors"])
        return all(self.error[part] for part in ("title", "detail", "remedy"))


@asynccontextmanager
async def two_slots(
    servers: Servers, database: Database, broker: Broker, folder: Path
) -> AsyncIterator[System]:
    """A running system that works on two jobs at a time."""
    async with running_system(servers, database, broker, folder) as system:
        system.variables["processor"] = {"PROCESSOR_SLOTS": str(SLOTS)}
        await system.start()
        yield system


async def send(system: System, upload: Upload, seconds: float = 60) -> Ended:
    """Upload a file and wait for its job to end."""
    async with system.client.post(
        "/v1/clouds", params={"name": upload.name}, data=io.BytesIO(upload.data)
    ) as answer:
        document = await answer.json(content_type=None)
        if answer.status != 201:
            assert 400 <= answer.status < 500, document
            return Ended(upload.name, "refused", document, None, 0)
    job = await system.wait_job(document["job"]["id"], seconds=seconds)
    started, ended = (datetime.fromisoformat(job[key]) for key in ("started_at", "ended_at"))
    took = (ended - started).total_seconds()
    return Ended(upload.name, job["state"], job["error"], job, took)


async def send_all(
    system: System, uploads: Iterable[Upload], at_once: int = 2 * SLOTS
) -> dict[str, Ended]:
    """Upload files in this order, a few at a time; what became of them, by name."""
    waiting = iter(uploads)
    ended: dict[str, Ended] = {}

    async def sender() -> None:
        for upload in waiting:
            ended[upload.name] = await send(system, upload)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(sender())
    return ended


async def fetch(system: System, job: str, product: str, path: Path) -> Path:
    """Download a product of a job."""
    async with system.client.get(f"/v1/jobs/{job}/products/{product}") as answer:
        assert answer.status == 200, await answer.text()
        with path.open("wb") as file:
            async for chunk in answer.content.iter_any():
                file.write(chunk)
    return path


def node() -> str:
    """The program that runs JavaScript."""
    program = shutil.which("node")
    assert program is not None, "node is not there; `make test` installs it"
    return program

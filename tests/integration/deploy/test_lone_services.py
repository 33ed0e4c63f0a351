"""Each service runs alone: its own lock's packages, its own folder, shared/ and sql/, no more.

Three virtual environments are made from the locks, so this needs the package index or uv's cache.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from deploy.local.folder import CHECKOUT
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SERVICES = ("gateway", "processor", "notifier")
# What each may not even be able to import.
FOREIGN = {
    "gateway": ("laspy", "lazrs", "laszip", "numpy", "PIL", "pyproj", "aiosmtplib"),
    "processor": ("swagger_ui_bundle", "aiosmtplib", "standardwebhooks"),
    "notifier": ("gcloud", "laspy", "lazrs", "numpy", "google_crc32c", "swagger_ui_bundle"),
}
INSTALL_SECONDS = 180
READY_SECONDS = 30
NOWHERE = "127.0.0.1:1"


@dataclass(frozen=True)
class Lone:
    """A service as it is deployed: an interpreter with its packages, a folder with its sources."""

    service: str
    python: Path
    sources: Path

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run the interpreter where the service would run, without any of our variables."""
        return subprocess.run(
            [self.python, *words],
            cwd=self.sources,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def install(service: str, folder: Path) -> Path:
    """Make a virtual environment from the service's lock; its interpreter."""
    lock = CHECKOUT / "requirements" / f"{service}.txt"
    python = folder / "bin" / "python"
    # uv first: it takes a second where pip takes half a minute. pip may know an index that it doesn't.
    uv = [shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"]
    ways: list[list[list[str]]] = [
        [
            [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            [*uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes"],
        ],
        [
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--require-hashes"],
        ],
    ]
    said = ""
    for create, fill in ways:
        for command in (create, [*fill, "-r", str(lock)]):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
            if done.returncode != 0:
                said += done.stderr[-2000:]
                break
        else:
            return python
    raise AssertionError(f"{lock.name} could not be installed:\n{said}")


@pytest.fixture(scope="module", params=SERVICES)
def lone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lone:
    service: str = request.param
    folder = tmp_path_factory.mktemp(service)
    sources = folder / "app"
    ignore = shutil.ignore_patterns("__pycache__")
    for part in ("shared", "sql", f"services/{service}"):
        shutil.copytree(CHECKOUT / part, sources / part, ignore=ignore)
    shutil.copy(CHECKOUT / "services" / "__init__.py", sources / "services")
    return Lone(service, install(service, folder / "venv"), sources)


def own_variables(lone: Lone, database_url: str, amqp_url: str, scratch: Path) -> dict[str, str]:
    prefix = lone.service.upper()
    own = {f"{prefix}_DATABASE_URL": database_url, f"{prefix}_AMQP_URL": amqp_url}
    if lone.service == "notifier":
        return own | {
            "NOTIFIER_SMTP_URL": f"smtp://{NOWHERE}",
            "NOTIFIER_MAIL_FROM": "mill@example.test",
            "NOTIFIER_PUBLIC_URL": "http://127.0.0.1:8080",
        }
    own[f"{prefix}_STORAGE_URL"] = f"file://{scratch / 'objects'}"
    if lone.service == "processor":
        own["PROCESSOR_SCRATCH"] = str(scratch / "scratch")
    return own


@dataclass(frozen=True)
class Running:
    """A started service: its process, where it answers, where its log goes."""

    process: Process
    client: aiohttp.ClientSession
    log: Path

    async def answers(self, path: str, status: int) -> str:
        """Wait until the path answers with the status; what it said then."""
        said = "nothing"
        try:
            async with asyncio.timeout(READY_SECONDS):
                while self.process.returncode is None:
                    try:
                        async with self.client.get(path) as response:
                            said = await response.text()
                            if response.status == status:
                                return said
                    except aiohttp.ClientConnectionError:
                        pass
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pass
        raise AssertionError(f"{path} did not answer {status}: {said}\n{self.log.read_text()}")

    async def told_to_stop(self) -> int:
        """Send SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()


@asynccontextmanager
async def started(
    lone: Lone, variables: dict[str, str], port: int, log: Path
) -> AsyncIterator[Running]:
    environment = {
        "PATH": os.environ["PATH"],
        f"{lone.service.upper()}_PORT": str(port),
        **variables,
    }
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            lone.python,
            "-m",
            f"services.{lone.service}",
            cwd=lone.sources,
            env=environment,
            stdout=file,
            stderr=file,
        )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield Running(process, client, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def test_a_service_has_nothing_of_the_others(lone: Lone) -> None:
    others = [f"services.{other}" for other in SERVICES if other != lone.service]
    code = (
        "import importlib.util as find, json, sys; "
        "print(json.dumps([name for name in sys.argv[1:] if find.find_spec(name)]))"
    )
    known = lone.run("-c", code, *FOREIGN[lone.service], *others, "deploy", "pytest", "pointmill")
    assert json.loads(known.stdout) == [], known.stderr
    itself = lone.run("-c", code, f"services.{lone.service}", "aio_pika", "asyncpg")
    assert len(json.loads(itself.stdout)) == 3


def test_every_module_of_a_service_can_be_imported_alone(lone: Lone) -> None:
    # The `pointmill` command has a lock of its own; the notifier touches no objects, no schedules.
    apart = {"notifier": ["shared.objects", "shared.cron"]}
    left = apart.get(lone.service, ["services.gateway.client"])
    code = (
        "import importlib, pkgutil, services, shared, sql, sys\n"
        "for place in (services, shared, sql):\n"
        "    for module in pkgutil.walk_packages(place.__path__, place.__name__ + '.'):\n"
        "        if not module.name.startswith(tuple(sys.argv[1:])):\n"
        "            importlib.import_module(module.name)\n"
    )
    done = lone.run("-c", code, *left)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_service_alone_becomes_ready_and_leaves_when_told(
    lone: Lone, database: Database, broker: Broker, tmp_path: Path, unused_tcp_port: int
) -> None:
    variables = own_variables(lone, database.url(lone.service), broker.url(lone.service), tmp_path)
    async with started(lone, variables, unused_tcp_port, tmp_path / "log") as running:
        await running.answers("/readyz", 200)
        assert "process_max_fds" in await running.answers("/metrics", 200)
        assert await running.told_to_stop() == 0
    log = running.log.read_text()
    assert "Traceback" not in log
    assert str(urlsplit(database.url(lone.service)).password) not in log


def test_a_service_without_its_variables_names_each_and_leaves(lone: Lone) -> None:
    required = own_variables(lone, "", "", Path("/nowhere"))
    required.pop("PROCESSOR_SCRATCH", None)
    done = lone.run("-m", f"services.{lone.service}")
    assert done.returncode == 2
    for name in required:
        assert f"{name}: Field required" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_service_without_its_database_lives_and_says_what_is_away(
    lone: Lone, broker: Broker, tmp_path: Path, unused_tcp_port: int
) -> None:
    url = f"postgresql://{lone.service}:hidden@{NOWHERE}/pointmill"
    variables = own_variables(lone, url, broker.url(lone.service), tmp_path)
    async with started(lone, variables, unused_tcp_port, tmp_path / "log") as running:
        await running.answers("/livez", 200)
        checks = json.loads(await running.answers("/readyz", 503))["checks"]
        assert "PostgreSQL" in checks["database"]
        assert await running.told_to_stop() == 0
    log = running.log.read_text()
    assert "Traceback" not in log
    assert "hidden" not in log


async def test_a_service_without_its_broker_becomes_ready_when_it_appears(
    lone: Lone,
    database: Database,
    broker: Broker,
    tmp_path: Path,
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    port, broker_port = unused_tcp_port_factory(), unused_tcp_port_factory()
    real = urlsplit(broker.url(lone.service))
    url = real._replace(netloc=real.netloc.replace(f":{real.port}", f":{broker_port}")).geturl()
    variables = own_variables(lone, database.url(lone.service), url, tmp_path)
    async with started(lone, variables, port, tmp_path / "log") as running:
        checks = json.loads(await running.answers("/readyz", 503))["checks"]
        assert checks["database"] == "ok"
        assert checks["broker"] != "ok"
        async with forwarded(broker_port, real.port or 5672):
            await running.answers("/readyz", 200)
            assert await running.told_to_stop() == 0
    log = running.log.read_text()
    assert "Traceback" not in log
    assert str(real.password) not in log


@asynccontextmanager
async def forwarded(port: int, target: int) -> AsyncIterator[None]:
    """Let the broker appear on a port where nothing was."""
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while block := await reader.read(1 << 16):
                writer.write(block)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        pumps.update(
            {
                asyncio.create_task(pump(reader, far_writer)),
                asyncio.create_task(pump(far_reader, writer)),
            }
        )

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

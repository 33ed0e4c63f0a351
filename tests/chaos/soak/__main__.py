"""The soak: thousands of jobs under random faults, and nothing may be lost, stuck, doubled or hidden.

    python -m tests.chaos.soak --minutes 10 [--seed N] [--clients N] [--bugs | --no-bugs]

First it proves that it is sharp: with each of three bugs planted it must find something wrong. Then it
runs on what is really here. The same seed gives the same orders and the same choice of faults; when
each of them meets which job is the machine's doing.
"""

import argparse
import asyncio
import contextlib
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deploy.local import ports, postgres
from deploy.local.folder import Folder
from sql.bootstrap import bootstrap
from sql.migrate import migrate
from tests.chaos.client import Client
from tests.chaos.conftest import VARIABLES
from tests.chaos.lines import proxied
from tests.chaos.soak.bugs import BUGS, Bug, plant_bug
from tests.chaos.soak.faults import EVERYTHING, World
from tests.chaos.soak.load import Load, settle_expectations
from tests.fixtures import broker, database
from tests.fixtures.invariants import check
from tests.fixtures.servers import Servers
from tests.fixtures.system import System, running_system

NEVER = "36000"
SETTLE_SECONDS = 240.0
BUG_SECONDS = 20.0
BUG_SETTLE_SECONDS = 30.0


@dataclass
class Verdict:
    """What came of one run."""

    wrong: str | None = None
    jobs: int = 0
    seconds: float = 0.0
    ordered: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    luck: Counter[str] = field(default_factory=Counter)


@contextmanager
def own_servers() -> Iterator[Servers]:
    """A PostgreSQL and a RabbitMQ of this run's own."""
    path = Path(tempfile.mkdtemp(prefix="pointmill-soak-"))
    path.chmod(0o711)
    folder = Folder(path)
    folder.open()
    servers = Servers(folder)
    try:
        servers.begin_rabbitmq()
        yield servers
    finally:
        servers.close()
        shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def open_world(servers: Servers, rng: random.Random) -> AsyncIterator[World]:
    """A fresh system with two processors, its servers behind proxies; nothing of it runs yet."""
    await servers.start_postgres()
    await servers.start_rabbitmq()
    await postgres.create_owner(servers.folder)
    await postgres.create_roles(
        servers.folder, postgres.url(servers.folder, "postgres", "postgres")
    )
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        rows = await enter(database.created(servers, f"soak_{secrets.token_hex(4)}"))
        await migrate(rows.owner_url)
        await bootstrap(rows.owner_url, rows.api_key, rows.member)
        bus = await enter(broker.created(servers, mapped=True))
        folder = servers.folder.path / f"system-{secrets.token_hex(4)}"
        system = await enter(running_system(servers, rows, bus, folder))
        to_broker = await enter(proxied(system, "rabbitmq"))
        to_database = await enter(proxied(system, "postgres"))
        for service, variables in VARIABLES.items():
            system.variables[service] = dict(variables)
        # Nobody looks for what was not told: each message must come through by itself.
        system.variables["notifier"]["NOTIFIER_RECONCILE_SECONDS"] = NEVER
        yield World(system, await enter(beside(system)), to_broker, to_database, rng)


@asynccontextmanager
async def beside(system: System) -> AsyncIterator[System]:
    """The same system once more, for a second processor on a port of its own."""
    taken = dict(system.around.ports)
    taken["processor"] = ports.choose(set(taken.values()), f"{system.folder} twin")
    twin = replace(system, around=replace(system.around, ports=taken), running={})
    try:
        yield twin
    finally:
        for part in list(twin.running):
            if twin.is_running(part):
                twin.resume(part)
                await twin.kill(part)


async def soak(
    servers: Servers, seed: int, seconds: float, clients: int, bug: Bug | None = None
) -> Verdict:
    """One run; with a bug planted only the faults that bring it out."""
    rng = random.Random(seed)  # noqa: S311 - repeatable by its seed
    verdict = Verdict()
    start = time.monotonic()
    async with open_world(servers, rng) as world:
        if bug is not None:
            await plant_bug(world.system, bug.name)
        load = Load(world.system, Client(world.system), rng)
        await asyncio.gather(world.system.start(), world.twin.start("processor"))
        await load.begin()
        faults = EVERYTHING if bug is None else bug.faults
        breaking = asyncio.create_task(world.go_wrong(faults, 3.0 if bug is None else 1.0))
        watching = asyncio.create_task(world.watch())
        try:
            await load.go_on(seconds, clients, pause=0.5)
            breaking.cancel()
            await asyncio.wait({breaking})
            await heal(world)
            await judge(world, load, verdict, SETTLE_SECONDS if bug is None else BUG_SETTLE_SECONDS)
        except (AssertionError, pytest.fail.Exception) as error:
            verdict.wrong = str(error) or repr(error)
        finally:
            breaking.cancel()
            watching.cancel()
            await asyncio.wait({breaking, watching})
            world.heal()
        verdict.ordered, verdict.happened = load.ordered, world.happened
        verdict.jobs = len(load.client.ledger.expected)
    verdict.seconds = time.monotonic() - start
    return verdict


async def heal(world: World) -> None:
    """Everything runs again and is ready."""
    world.heal()
    await world.system.servers.start_postgres()
    await world.system.servers.start_rabbitmq()
    await asyncio.gather(world.system.start(), world.twin.start("processor"))


async def judge(world: World, load: Load, verdict: Verdict, seconds: float) -> None:
    """Hold what is there against what was promised.

    Raises:
        AssertionError, pytest.fail.Exception: something is lost, stuck, doubled or hidden.
    """
    assert not world.ended, "\n".join(world.ended)
    deadline = time.monotonic() + seconds
    query = "select count(*) from jobs where state in ('waiting', 'queued', 'running')"
    async with world.system.database.connected() as connection:
        while (left := await connection.fetchval(query)) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
    assert not left, f"{left} jobs are stuck"
    verdict.luck = await settle_expectations(world.system, load)
    # A kill of the notifier between sending and marking repeats a notice, under the same id.
    await check(world.system, load.client.ledger, repeats=True, seconds=seconds)


def show(seed: int, verdict: Verdict) -> None:
    """Print what one run on the real thing has found."""
    print(f"seed {seed}: {verdict.jobs} jobs in {verdict.seconds:.0f} s")
    for title, counts in {
        "ordered": verdict.ordered,
        "faults": verdict.happened,
        "visible": verdict.luck,
    }.items():
        for name, count in sorted(counts.items()):
            print(f"  {title}: {count} x {name}")
    if verdict.wrong is None:
        print("  0 lost, 0 stuck, 0 doubled effects, 0 invisible failures (I1 to I10 hold)")
    else:
        print(f"  WRONG: {verdict.wrong[:3000]}")


async def main(arguments: argparse.Namespace) -> int:
    """Prove the sharpness, then soak; the exit status."""
    seed = arguments.seed if arguments.seed is not None else secrets.randbits(32)
    print(f"seed {seed}", flush=True)
    blunt = []
    with own_servers() as servers:
        for bug in BUGS if arguments.bugs else ():
            verdict = await soak(servers, seed, BUG_SECONDS, arguments.clients, bug)
            said = (
                "NOT FOUND" if verdict.wrong is None else "found: " + verdict.wrong.split("\n")[0]
            )
            print(f"planted bug, {bug.name}: {said[:200]}", flush=True)
            if verdict.wrong is None:
                blunt.append(bug.name)
        if not arguments.minutes:
            return 1 if blunt else 0
        verdict = await soak(servers, seed, arguments.minutes * 60, arguments.clients)
        show(seed, verdict)
        return 1 if blunt or verdict.wrong is not None else 0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.chaos.soak")
    parser.add_argument("--minutes", type=float, default=10, help="0: only the planted bugs")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--bugs", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parsed())))

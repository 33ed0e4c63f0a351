"""The previous commit's services and today's run side by side on today's schema, in every combination.

POINTMILL_PREVIOUS names another commit than HEAD~1: the one that is deployed, for instance.
"""

import asyncio
import io
import os
import subprocess
import tarfile
from itertools import product
from pathlib import Path

import pytest

from deploy.local.folder import CHECKOUT
from deploy.local.services import SERVICES
from tests.chaos.client import Client
from tests.chaos.work import do_work
from tests.fixtures.invariants import check
from tests.fixtures.system import System

PREVIOUS = os.environ.get("POINTMILL_PREVIOUS", "HEAD~1")
COMBINATIONS = [" ".join(turn) for turn in product(["old", "new"], repeat=len(SERVICES))][:-1]


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the services need of the previous commit."""
    folder = tmp_path_factory.mktemp("previous")
    words = ["git", "-C", str(CHECKOUT), "archive", PREVIOUS, "services", "shared", "sql", "deploy"]
    packed = subprocess.run(words, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.chaos
@pytest.mark.row("G2", "gateway, processor, notifier: {which}")
@pytest.mark.parametrize("which", COMBINATIONS)
async def test_services_of_two_versions_finish_each_others_jobs(
    idle_system: System, client: Client, previous: Path, which: str
) -> None:
    for service, version in zip(SERVICES, which.split(), strict=True):
        if version == "old":
            idle_system.checkouts[service] = previous
    await idle_system.start()
    await client.register_hook()
    await do_work(client)
    await check(idle_system, client.ledger)


@pytest.mark.chaos
@pytest.mark.row("G2", "every service replaced by today's under work, then rolled back")
async def test_a_deploy_and_its_roll_back_under_work_lose_nothing(
    idle_system: System, client: Client, previous: Path
) -> None:
    system = idle_system
    system.checkouts = dict.fromkeys(SERVICES, previous)
    await system.start()
    await client.register_hook()
    for checkouts in ({}, dict.fromkeys(SERVICES, previous)):
        work = asyncio.create_task(do_work(client, await client.make_cloud("town")))
        system.checkouts = checkouts
        for service in SERVICES:
            await system.restart(service)
        await work
    await check(system, client.ledger)

"""The lines between the services and their servers break, under uploads and running jobs."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.chaos.client import Client
from tests.chaos.lines import bucket, proxied
from tests.chaos.test_servers_go_away import at_work
from tests.fixtures.fault_proxy import FaultProxy
from tests.fixtures.invariants import check
from tests.fixtures.system import System

OUTAGE_SECONDS = 12.0
"""Longer than any wait of a service for an answer: 5 s for the broker, 10 s for the database."""


async def black_hole(proxy: FaultProxy) -> None:
    proxy.black_hole = True
    await asyncio.sleep(OUTAGE_SECONDS)
    proxy.black_hole = False


async def reset(proxy: FaultProxy) -> None:
    for _ in range(5):
        proxy.reset()
        await asyncio.sleep(0.7)


async def refuse(proxy: FaultProxy) -> None:
    proxy.refusing = True
    proxy.reset()
    await asyncio.sleep(4)
    proxy.refusing = False


async def half_open(proxy: FaultProxy) -> None:
    proxy.half_open()


async def latency(proxy: FaultProxy) -> None:
    proxy.latency = 0.05


async def truncate(proxy: FaultProxy) -> None:
    for size in (1, 150, 1500):
        proxy.cut_after(size)
        await proxy.sprung()
        await asyncio.sleep(0.5)


FAULTS: list[Callable[[FaultProxy], Awaitable[None]]] = [
    black_hole,
    reset,
    refuse,
    half_open,
    latency,
    truncate,
]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)


@pytest.mark.chaos
@pytest.mark.row("D3", "every line to the broker: {fault}")
@each_fault
async def test_a_broken_line_to_the_broker_loses_nothing_and_costs_no_attempt(
    idle_system: System, client: Client, fault: Callable[[FaultProxy], Awaitable[None]]
) -> None:
    async with proxied(idle_system, "rabbitmq") as proxy:
        work = await at_work(idle_system, client)
        await fault(proxy)
        await work
        found = await check(idle_system, client.ledger)
        assert not found.lost
        await idle_system.start()  # all are ready: what was broken was noticed


@pytest.mark.chaos
@pytest.mark.row("E1", "every line to the database: {fault}")
@each_fault
async def test_a_broken_line_to_the_database_loses_nothing(
    idle_system: System, client: Client, fault: Callable[[FaultProxy], Awaitable[None]]
) -> None:
    async with proxied(idle_system, "postgres") as proxy:
        work = await at_work(idle_system, client)
        await fault(proxy)
        await work
        await check(idle_system, client.ledger, repeats=True)
        await idle_system.start()


@pytest.mark.chaos
@pytest.mark.row("F1", "every line to the store: {fault}")
@each_fault
async def test_a_broken_line_to_the_store_loses_nothing(
    idle_system: System,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[FaultProxy], Awaitable[None]],
) -> None:
    async with bucket(idle_system, monkeypatch) as proxy:
        work = await at_work(idle_system, client)
        await fault(proxy)
        await work
        await check(idle_system, client.ledger)
        await idle_system.start()

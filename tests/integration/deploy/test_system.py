"""The system that end-to-end and chaos tests use can be hurt and healed as they need."""

import signal
from typing import Any

from tests.fixtures.system import System


async def create_job(system: System, kind: str, params: dict[str, Any]) -> str:
    order = {"kind": kind, "params": params}
    async with system.client.post("/v1/jobs", json=order) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])


async def kinds(system: System) -> list[str]:
    async with system.client.get("/v1/kinds") as answer:
        return [kind["kind"] for kind in (await answer.json())["items"]]


async def test_a_service_dies_at_its_failpoint_and_the_job_ends_after_its_return(
    idle_system: System,
) -> None:
    short = {"PROCESSOR_LEASE_SECONDS": "2", "PROCESSOR_HEARTBEAT_SECONDS": "0.5"}
    idle_system.variables["processor"] = short
    await idle_system.start("sinks", "gateway", "notifier")
    await idle_system.start("processor", failpoints="processor.job.claimed=kill")
    await idle_system.register_webhook()
    assert "demo.print" in await kinds(idle_system)
    job = await create_job(idle_system, "demo.sleep", {"seconds": 0})
    assert await idle_system.wait_ended("processor") == -signal.SIGKILL
    await idle_system.start("processor")
    assert (await idle_system.wait_job(job))["state"] == "succeeded"


async def test_servers_are_restarted_under_running_services(system: System) -> None:
    await system.restart_postgres(kill=True)
    await system.restart_rabbitmq(kill=True)
    job = await create_job(system, "demo.sleep", {"seconds": 0.1})
    assert (await system.wait_job(job))["state"] == "succeeded"
    assert all(system.is_running(part) for part in ("gateway", "processor", "notifier"))


async def test_sigterm_ends_every_service_in_order(system: System) -> None:
    for part in ("gateway", "processor", "notifier"):
        assert await system.stop(part) == 0, system.log_tail(part)

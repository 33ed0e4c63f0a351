"""A running notifier says which messages it accepts, and that it leaves."""

from typing import Any

from tests.integration.notifier.receivers import until
from tests.integration.notifier.stage import Stage


async def test_a_notifier_is_registered_as_long_as_it_runs(stage: Stage) -> None:
    async def instances() -> list[Any]:
        return await stage.run("select service, accepts from service_instances")

    async def registered() -> bool:
        return bool(await instances())

    async with stage.notifier() as notifier:
        await until(registered)
        assert [dict(row) for row in await instances()] == [
            {
                "service": "notifier",
                "accepts": [
                    f"pointmill.job.{end}.v1" for end in ("succeeded", "failed", "cancelled")
                ],
            }
        ]
        assert await notifier.stop() == 0
        assert await instances() == []

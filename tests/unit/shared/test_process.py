"""How a service lives: no secret in a log, no background task that ends unseen."""

import asyncio

import pytest

from shared.process import BackgroundTaskEnded, Supervisor, mask, mask_event


@pytest.mark.parametrize(
    "secret",
    [
        "pm_0123abcd_" + "c4" * 24,
        "postgresql://gateway:c4c4c4@db/pointmill",
        "amqps://processor:c4c4c4@broker/%2F",
        "Authorization: Bearer c4c4c4",
        "whsec_c4c4c4c4c4",
    ],
)
def test_a_secret_of_a_known_form_is_masked_wherever_it_stands(secret: str) -> None:
    assert "c4" not in mask(f"before {secret} after")
    assert "c4" not in str(mask_event(None, "info", {"event": f"x {secret}", "detail": secret}))


def test_a_field_with_a_secrets_name_is_never_shown() -> None:
    assert mask_event(None, "info", {"event": "x", "Password": "c4", "token": "c4"}) == {
        "event": "x",
        "Password": "***",
        "token": "***",
    }


def test_what_is_no_secret_stays_as_it_is() -> None:
    assert (
        mask("http://127.0.0.1:8080/docs and pm_ in a sentence")
        == "http://127.0.0.1:8080/docs and pm_ in a sentence"
    )


@pytest.mark.parametrize("ending", ["return", "raise", "cancel"])
async def test_any_end_of_a_background_task_that_is_no_shutdown_ends_the_service(
    ending: str,
) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        if ending == "raise":
            raise ValueError("broken")
        if ending == "cancel":
            raise asyncio.CancelledError

    supervisor = Supervisor()
    supervisor.start("the relay", work())
    with pytest.raises(BackgroundTaskEnded, match="the relay"):
        await supervisor.run_until_stopped()
    await supervisor.stop()


async def test_a_shutdown_stops_every_task_the_youngest_first() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    supervisor = Supervisor()
    for name in ("connection", "consumer"):
        supervisor.start(name, work(name))
    asyncio.get_running_loop().call_later(0.05, supervisor.stopping.set)
    await supervisor.run_until_stopped()
    await supervisor.stop()
    assert ended == ["consumer", "connection"]

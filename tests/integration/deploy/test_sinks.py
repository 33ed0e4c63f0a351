"""The sinks take what the notifier sends, check it, and lose nothing."""

import json
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from standardwebhooks import Webhook

from deploy.local.services import SINKS, SINKS_SMTP
from tests.fixtures.system import System

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = {"type": "pointmill.job.succeeded.v1", "data": {"job": "j1"}}


@pytest.fixture
async def sinks(idle_system: System) -> System:
    await idle_system.start(SINKS)
    return idle_system


async def deliver(sinks: System, secret: str = SECRET, hook: str = "test") -> int:
    body, now = json.dumps(EVENT), datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body),
    }
    url = f"{sinks.around.url(SINKS)}/hooks/{hook}"
    async with sinks.client.post(url, data=body, headers=headers) as answer:
        return answer.status


async def know_secret(sinks: System, **more: Any) -> None:
    known = {"secret": SECRET, **more}
    async with sinks.client.put(f"{sinks.around.url(SINKS)}/hooks/test", json=known) as answer:
        assert answer.status == 204


async def send_mail(sinks: System, subject: str = "Done") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.test", "b@example.test", subject
    message["Message-ID"] = "<1@example.test>"
    message.set_content("Grüße: <b>ready</b>")
    await aiosmtplib.send(message, hostname="127.0.0.1", port=sinks.around.ports[SINKS_SMTP])


async def test_a_signature_is_checked_with_the_hooks_secret(sinks: System) -> None:
    await know_secret(sinks)
    assert await deliver(sinks) == 200
    assert await deliver(sinks, secret="whsec_" + "B" * 32) == 200
    assert await deliver(sinks, hook="unknown") == 200
    assert [entry["verified"] for entry in await sinks.webhooks()] == [True, False, None]


async def test_a_delivery_that_comes_twice_is_kept_twice(sinks: System) -> None:
    await deliver(sinks)
    await deliver(sinks)
    assert [(entry["number"], entry["id"]) for entry in await sinks.webhooks()] == [
        (1, "msg_1"),
        (2, "msg_1"),
    ]


async def test_a_hook_answers_as_it_was_told_and_then_well(sinks: System) -> None:
    await know_secret(sinks, statuses=[500, 410])
    assert [await deliver(sinks) for _ in range(3)] == [500, 410, 200]


async def test_a_mail_is_kept_with_what_matters(sinks: System) -> None:
    await send_mail(sinks)
    (mail,) = await sinks.mails()
    assert mail["recipients"] == ["b@example.test"]
    assert mail["message_id"] == "<1@example.test>"
    assert mail["subject"] == "Done"
    assert "Grüße" in mail["text"]


async def test_the_mailbox_refuses_as_it_was_told(sinks: System) -> None:
    url = f"{sinks.around.url(SINKS)}/mailbox"
    async with sinks.client.put(url, json={"replies": ["451 try again later"]}) as answer:
        assert answer.status == 204
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await send_mail(sinks)
    assert refused.value.code == 451
    await send_mail(sinks)


async def test_a_killed_sink_forgets_nothing(sinks: System) -> None:
    await know_secret(sinks)
    await deliver(sinks)
    await send_mail(sinks)
    await sinks.kill(SINKS)
    with (sinks.folder / "sinks" / "mails.jsonl").open("a") as file:
        file.write('{"number": 2, "sub')  # as a kill in the middle of a write leaves it
    await sinks.start(SINKS)
    await deliver(sinks)
    await send_mail(sinks, subject="After the kill")
    await sinks.restart(SINKS)
    assert [entry["verified"] for entry in await sinks.webhooks()] == [True, True]
    assert [mail["subject"] for mail in await sinks.mails()] == ["Done", "After the kill"]


async def test_the_page_shows_what_arrived_and_runs_none_of_it(sinks: System) -> None:
    await send_mail(sinks, subject="<script>alert(1)</script>")
    await deliver(sinks)
    async with aiohttp.ClientSession() as browser, browser.get(sinks.around.url(SINKS)) as answer:
        page = await answer.text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "msg_1" in page


async def test_sigterm_stops_the_sinks_in_order(sinks: System) -> None:
    assert await sinks.stop(SINKS) == 0

"""Ended jobs are told: once, whatever happens to the messages and to the notifier."""

import asyncio
import json
import signal
import sys

import pytest
from standardwebhooks.webhooks import Webhook

from tests.integration.notifier.receivers import Answer, body, until
from tests.integration.notifier.stage import CHECKOUT, Stage

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example of the Standard Webhooks specification."""

COPC = {
    "name": "copc", "object": "x", "media_type": "application/octet-stream", "bytes": 12_400_000,
    "crc32c": "00000000", "sha256": "0" * 64,
}  # fmt: skip

DOWN = Answer(500, text="out\n of order")


async def test_an_ended_job_becomes_one_mail_and_one_webhook_though_its_message_comes_thrice(
    stage: Stage,
) -> None:
    await stage.add_webhook("/hook", SECRET)
    cloud = await stage.add_cloud("town.laz")
    end = await stage.end_job(
        "pointcloud.ingest", cloud=cloud, result={"points": 1_234_567}, products=[COPC]
    )
    async with stage.notifier():
        await stage.tell(end, times=3)
        await stage.settled(2)
        await asyncio.sleep(1)  # what is too much would come now
    assert [call.event for call in stage.receiver.calls] == [end.event]
    assert stage.mailbox.events == [end.event]
    call = stage.receiver.calls[0]
    assert Webhook(SECRET).verify(call.body, call.headers) == end.outgoing.message
    assert call.headers["content-type"] == "application/cloudevents+json"
    mail = stage.mailbox.mails[0]
    assert mail["Subject"] == "Milled: town.laz"
    assert mail["To"] == stage.database.member
    text = body(mail, "plain")
    assert "Its 1,234,567 points (4.2 MB) took" in text
    assert f"12 MB  http://pointmill.example.test/v1/jobs/{end.job}/products/copc" in text


async def test_a_failed_job_is_told_with_its_reason_and_remedy(stage: Stage) -> None:
    error = {"code": "not_las", "title": "The file is not a LAS file",
             "detail": "<b>It</b> starts with PK.", "remedy": "Unpack it."}  # fmt: skip
    cloud = await stage.add_cloud("broken.laz\r\nBcc: all@example.test")
    end = await stage.end_job("pointcloud.ingest", cloud=cloud, error=error)
    async with stage.notifier():
        await stage.tell(end)
        await stage.settled(1)
    mail = stage.mailbox.mails[0]
    assert mail["Subject"] == (
        "Failed: broken.laz Bcc: all@example.test - The file is not a LAS file"
    )
    assert mail["Bcc"] is None
    text = body(mail, "plain")
    assert all(words in text for words in (*error.values(),))
    html = body(mail, "html")
    assert "&lt;b&gt;It&lt;/b&gt; starts" in html


async def test_only_those_of_the_job_s_own_workspace_who_want_to_know_are_told(
    stage: Stage,
) -> None:
    await stage.add_webhook("/ours")
    disabled = await stage.add_webhook("/disabled")
    await stage.run("update webhooks set disabled_at = now() where id = $1", disabled)
    await stage.run("update members set notify_by_mail = false")
    end = await stage.end_job()
    await stage.run("insert into workspaces (name) values ('other')")
    await stage.run(
        """insert into members (workspace_id, name, email)
           select id, 'other', 'other@example.test' from workspaces where name = 'other'"""
    )
    await stage.run(
        """insert into webhooks (workspace_id, url, secret)
           select id, $1, 'whsec_MfKQ' from workspaces where name = 'other'""",
        stage.receiver.url("/other"),
    )
    async with stage.notifier():
        await stage.tell(end)
        await stage.settled(1)
    assert [call.path for call in stage.receiver.calls] == ["/ours"]
    assert stage.mailbox.mails == []


async def test_a_lost_message_loses_no_notice(stage: Stage) -> None:
    await stage.add_webhook("/hook")
    end = await stage.end_job()
    async with stage.notifier(reconcile_seconds=0.5) as notifier:
        await stage.settled(2)
        assert 'planned_total{source="reconciled"} 1.0' in await notifier.metrics()
        # The message was only late: now it comes after all.
        await stage.tell(end)
        await asyncio.sleep(1.5)
    assert [call.event for call in stage.receiver.calls] == [end.event]
    assert stage.mailbox.events == [end.event]


async def test_a_receiver_that_is_down_is_tried_again_later_and_later_across_a_restart(
    stage: Stage,
) -> None:
    await stage.add_webhook("/hook")
    pauses = json.dumps([1.5, 3, 60])
    end = await stage.end_job()
    stage.receiver.scripts["/hook"] = [DOWN, DOWN, DOWN, Answer()]
    async with stage.notifier(retry_seconds=pauses):
        await stage.tell(end)
        await until(lambda: len(stage.receiver.calls) == 1)
    async with stage.notifier(retry_seconds=pauses):
        await until(lambda: len(stage.receiver.calls) == 3)
        webhook = await stage.refused(3)
    first, second, third = (call.at for call in stage.receiver.calls)
    assert second - first >= 1.1
    assert third - second >= 2.4
    assert webhook["last_error"] == "The receiver answered 500: out of order"
    assert 40 <= webhook["pause"] <= 72
    # An hour later it is up again.
    await stage.run("update deliveries set next_at = now()")
    async with stage.notifier(retry_seconds=pauses):
        await stage.settled(2)
    assert {call.event for call in stage.receiver.calls} == {end.event}
    assert len(stage.receiver.calls) == 4
    assert stage.mailbox.events == [end.event]


async def test_the_last_try_that_fails_ends_the_delivery_with_its_reason(stage: Stage) -> None:
    await stage.add_webhook("/hook")
    stage.receiver.scripts["/hook"] = [DOWN]
    end = await stage.end_job()
    async with stage.notifier(retry_seconds="[0.1, 0.1]"):
        await stage.tell(end)
        await stage.settled(2)
    webhook = (await stage.deliveries())[1]
    assert (webhook["state"], webhook["tries"]) == ("failed", 3)
    assert webhook["last_error"] == "The receiver answered 500: out of order"


async def test_a_slow_endpoint_delays_no_other(stage: Stage) -> None:
    await stage.add_webhook("/slow")
    await stage.add_webhook("/quick")
    stage.receiver.scripts["/slow"] = [Answer(seconds=60)]
    ends = [await stage.end_job() for _ in range(20)]
    async with stage.notifier(lease_seconds=60) as notifier:
        await stage.tell(*ends)
        await until(lambda: len(stage.receiver.at("/quick")) == 20, 5)
        await until(lambda: len(stage.mailbox.mails) == 20, 5)
        assert len(stage.receiver.at("/slow")) == 2  # and the other eighteen wait for these
        await notifier.kill()


async def test_an_answer_of_410_disables_the_webhook_and_ends_what_waits_for_it(
    stage: Stage,
) -> None:
    webhook = await stage.add_webhook("/gone")
    stage.receiver.scripts["/gone"] = [Answer(410)]
    first, second = await stage.end_job(), await stage.end_job()
    async with stage.notifier():
        await stage.tell(first)
        await stage.settled(2)
        await stage.tell(second)
        await stage.settled(3)
    assert len(stage.receiver.calls) == 1
    row = (await stage.run("select * from webhooks where id = $1", webhook))[0]
    assert row["disabled_at"] is not None
    assert row["disabled_reason"] == "The receiver answered 410."
    states = [delivery["state"] for delivery in await stage.deliveries()]
    assert states == ["sent", "sent", "failed"]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_says_when_is_not_called_before(stage: Stage, status: int) -> None:
    await stage.add_webhook("/busy")
    stage.receiver.scripts["/busy"] = [Answer(status, {"Retry-After": "700"})]
    end = await stage.end_job()
    async with stage.notifier():
        await stage.tell(end)
        delivery = await stage.refused(1)
    assert 690 <= delivery["pause"] <= 700


async def test_a_redirect_is_not_followed(stage: Stage) -> None:
    await stage.add_webhook("/moved")
    location = {"Location": stage.receiver.url("/elsewhere")}
    stage.receiver.scripts["/moved"] = [Answer(307, location)]
    end = await stage.end_job()
    async with stage.notifier():
        await stage.tell(end)
        await stage.refused(1)
    assert not stage.receiver.at("/elsewhere")


async def test_a_mail_server_that_says_later_is_asked_again_and_one_that_says_no_is_not(
    stage: Stage,
) -> None:
    stage.mailbox.replies = ["451 greylisted"]
    later = await stage.end_job()
    async with stage.notifier(retry_seconds="[0.2]"):
        await stage.tell(later)
        await stage.settled(1)
        stage.mailbox.replies = ["550 no such user"]
        await stage.tell(await stage.end_job())
        await stage.settled(2)
    first, second = await stage.deliveries()
    assert (first["state"], first["tries"]) == ("sent", 2)
    assert (second["state"], second["tries"]) == ("failed", 1)
    assert second["last_error"] == "The mail server answered 550 no such user"
    assert stage.mailbox.events == [later.event]


@pytest.mark.parametrize(
    "failpoint",
    [
        "notifier.event.received",
        "notifier.event.planned",
        "notifier.delivery.claimed",
        "notifier.delivery.sent",
    ],
)
async def test_a_notifier_killed_on_the_way_tells_each_receiver_of_one_event_only(
    stage: Stage, failpoint: str
) -> None:
    await stage.add_webhook("/hook")
    end = await stage.end_job()
    async with stage.notifier(f"{failpoint}=kill") as notifier:
        await stage.tell(end)
        await notifier.killed()
    async with stage.notifier():
        await stage.settled(2)
        await asyncio.sleep(0.5)
    assert {call.event for call in stage.receiver.calls} == {end.event}
    assert set(stage.mailbox.events) == {end.event}
    repeated = failpoint == "notifier.delivery.sent"
    assert len(stage.receiver.calls) <= (2 if repeated else 1)
    # A repeat is the same mail again.
    assert len({mail["Message-ID"] for mail in stage.mailbox.mails}) == 1
    assert len(stage.mailbox.mails) <= (2 if repeated else 1)
    assert len(stage.receiver.calls) + len(stage.mailbox.mails) >= (3 if repeated else 2)


async def test_a_notifier_that_was_frozen_and_overtaken_has_no_say(stage: Stage) -> None:
    webhook = await stage.add_webhook("/hook")
    await stage.run("update members set notify_by_mail = false")
    stage.receiver.scripts["/hook"] = [Answer(500, seconds=1), Answer()]
    end = await stage.end_job()
    async with stage.notifier(lease_seconds=3) as frozen:
        await stage.tell(end)
        await until(lambda: len(stage.receiver.calls) == 1)
        frozen.process.send_signal(signal.SIGSTOP)
        async with stage.notifier(lease_seconds=3):
            await stage.settled(1)
            frozen.process.send_signal(signal.SIGCONT)
            await until(lambda: "delivery_overtaken" in frozen.log.read_text())
    delivery = (await stage.deliveries())[0]
    assert delivery["recipient"] == str(webhook)
    assert (delivery["state"], delivery["tries"]) == ("sent", 2)
    assert {call.event for call in stage.receiver.calls} == {end.event}


async def test_what_was_sent_while_the_database_went_away_is_not_sent_again(stage: Stage) -> None:
    await stage.add_webhook("/hook")
    stage.receiver.scripts["/hook"] = [Answer(seconds=1.5)]
    end = await stage.end_job()
    async with stage.notifier(lease_seconds=60):
        await stage.tell(end)
        await until(lambda: len(stage.receiver.calls) == 1)
        # Only the hook is to be under way: a mail whose claim is cut off waits for its lease.
        await until(stage.mail_sent)
        # Stopped, not killed: the tests' server would forget its last commits.
        stage.database.servers.stop("postgres")
        await asyncio.sleep(2)
        await stage.database.servers.start_postgres()
        await stage.settled(2)
    assert [call.event for call in stage.receiver.calls] == [end.event]
    assert [delivery["tries"] for delivery in await stage.deliveries()] == [1, 1]


async def test_told_to_stop_it_lets_what_is_being_sent_end(stage: Stage) -> None:
    await stage.add_webhook("/hook")
    stage.receiver.scripts["/hook"] = [Answer(200, seconds=2)]
    end = await stage.end_job()
    async with stage.notifier(lease_seconds=60) as notifier:
        await stage.tell(end)
        await until(lambda: len(stage.receiver.calls) == 1)
        assert await notifier.stop() == 0
    assert [delivery["state"] for delivery in await stage.deliveries()] == ["sent", "sent"]


async def test_a_message_of_a_version_nobody_here_knows_goes_to_the_dead_letters(
    stage: Stage,
) -> None:
    end = await stage.end_job()
    end.outgoing.message["type"] = "pointmill.job.succeeded.v9"
    async with stage.notifier():
        await stage.tell(end)
        await _queued(stage, "notifier.dead", 1)
    assert await stage.deliveries() == []


async def _queued(stage: Stage, queue: str, count: int) -> None:
    async def holds() -> bool:
        answer = await stage.broker.api("GET", f"queues/{stage.broker.path}/{queue}")
        return bool(answer.json().get("messages") == count)

    await until(holds)


async def test_a_missing_setting_is_named_and_no_traceback_is_shown() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.notifier", cwd=CHECKOUT, env={"NOTIFIER_SMTP_URL": "http://x"},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 2
    lines = said.decode().splitlines()
    assert "NOTIFIER_DATABASE_URL: Field required" in lines
    assert any(line.startswith("NOTIFIER_SMTP_URL: ") for line in lines)
    assert not any("Traceback" in line for line in lines)

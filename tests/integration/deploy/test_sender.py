"""A service that is let in asks for jobs as the README says, and is confined to its own workspace."""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import aio_pika
import pytest
from aio_pika.exceptions import ChannelClosed

from services.processor.intake import job_id_of
from shared import topology
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.processors import Bench

CHECKOUT = Path(__file__).parents[3]
README = (CHECKOUT / "README.md").read_text()
PASSWORD = "a password"
OTHER = UUID("00000000-0000-7000-8000-0000000000ff")


def block(after: str, language: str = "") -> str:
    """The first block of code of a language behind a sentence of the README."""
    text = README[README.index(after) :]
    return re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]  # type: ignore[index]


async def run(*command: str, **more: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=CHECKOUT, env={**os.environ, **more}, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@dataclass(frozen=True)
class Door:
    """The command that lets senders in, run against a bench."""

    bench: Bench

    async def __call__(self, *arguments: str, **more: str) -> tuple[int, str, str]:
        return await run(
            *(sys.executable, "-m", "deploy.sender", *arguments),
            MIGRATE_DATABASE_URL=self.bench.database.owner_url,
            POINTMILL_AMQP_ADMIN_URL=self.bench.broker.admin_url,
            POINTMILL_AMQP_VHOST=self.bench.broker.vhost,
            **{"POINTMILL_SENDER_PASSWORD": PASSWORD, **more},
        )

    def url(self, password: str = PASSWORD) -> str:
        parts = urlsplit(self.bench.broker.url("pointmill"))
        password = password.replace(" ", "%20")
        return f"amqp://planner:{password}@{parts.hostname}:{parts.port}{parts.path}"


@pytest.fixture
async def door(bench: Bench) -> AsyncIterator[Door]:
    made = Door(bench)
    yield made
    await made("planner", "--remove")  # users belong to the whole node


async def test_the_python_client_of_the_readme_gets_its_job(bench: Bench, door: Door) -> None:
    code = block("hear the events of its own workspace", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    assert (await door("planner", "--workspace", "default"))[0] == 0
    async with bench.processor():
        status, out, err = await run(
            *(sys.executable, "-c", code), AMQP_URL=door.url(), WORKSPACE=str(DEFAULT_WORKSPACE)
        )
        job = job_id_of("planner", "order-17")
        assert (status, err) == (0, "")
        assert str(job) in out
        assert (await bench.until(job, "succeeded"))["requested_by"] == "service:planner"


async def test_the_shell_commands_of_the_readme_get_their_job(bench: Bench, door: Door) -> None:
    tool = shutil.which("rabbitmqadmin")
    if tool is None:
        pytest.skip("rabbitmqadmin is not installed")
    await door("planner", "--workspace", "default", "--shell")
    admin = urlsplit(bench.broker.admin_url)
    async with bench.processor():
        status, out, err = await run(
            *("bash", "-euc", block("Any AMQP tool will do")),
            HOST=admin.hostname or "", PORT=str(admin.port), VHOST=bench.broker.vhost,
            PASSWORD=PASSWORD, WORKSPACE=str(DEFAULT_WORKSPACE),
        )  # fmt: skip
        assert status == 0, out + err
        assert "Message published" in out
        assert "pointmill.job.accepted.v1" in out
        await bench.until(job_id_of("planner", "order-18"), "succeeded")


BINDINGS = {
    "every workspace": (topology.EVENTS, "#"),
    "any first word": (topology.EVENTS, "*.job.#"),
    "another workspace": (topology.EVENTS, f"{OTHER}.job.#"),
    "requests of others": (topology.REQUESTS, "request.#"),
    "progress": (topology.PROGRESS, "#"),
}
PUBLICATIONS = {
    "another kind": (topology.REQUESTS, "request.demo_sleep", "planner"),
    "no request": (topology.REQUESTS, "anything", "planner"),
    "an event": (topology.EVENTS, f"{DEFAULT_WORKSPACE}.job.x.succeeded", "planner"),
    "another's name": (topology.REQUESTS, "request.demo_print", "gateway"),
}


async def test_a_sender_is_confined_to_its_workspace_its_kinds_and_its_own_names(
    bench: Bench, door: Door
) -> None:
    assert (await door("planner", "--workspace", "default", "--kind", "demo.print"))[0] == 0
    refusal = pytest.raises(ChannelClosed, match=r"access|ACCESS|user_id")
    async with await aio_pika.connect(door.url()) as connection:
        for exchange, key in BINDINGS.values():
            channel = await connection.channel()  # one for each: a refusal closes it
            queue = await channel.declare_queue("planner.q", exclusive=True)
            with refusal:
                await queue.bind(exchange, key)
        for exchange, key, user in PUBLICATIONS.values():
            channel = await connection.channel()
            found = await channel.get_exchange(exchange, ensure=False)
            with refusal:
                await found.publish(aio_pika.Message(b"{}", user_id=user), key)
        channel = await connection.channel()
        with refusal:
            await channel.declare_queue("gateway.live.x", exclusive=True)
        channel = await connection.channel()
        queue = await channel.declare_queue("planner.q", exclusive=True)
        await queue.bind(topology.EVENTS, f"{DEFAULT_WORKSPACE}.job.#")
        requests = await channel.get_exchange(topology.REQUESTS, ensure=False)
        await requests.publish(aio_pika.Message(b"{}", user_id="planner"), "request.demo_print")


async def test_letting_in_twice_changes_the_kinds_and_never_the_workspace(
    bench: Bench, door: Door
) -> None:
    await bench.rows("insert into workspaces (id, name) values ($1, 'other') returning 1", OTHER)
    assert (await door("planner", "--workspace", "default", "--kind", "demo.print"))[0] == 0
    status, out, _ = await door("planner", "--workspace", "default", POINTMILL_SENDER_PASSWORD="")
    assert (status, "password" in out) == (0, False)
    assert await bench.rows("select user_id, kinds from senders") == [
        {"user_id": "planner", "kinds": None}
    ]
    async with await aio_pika.connect(door.url()) as connection:
        channel = await connection.channel()
        requests = await channel.get_exchange(topology.REQUESTS, ensure=False)
        await requests.publish(aio_pika.Message(b"{}", user_id="planner"), "request.demo_sleep")
    status, _, err = await door("planner", "--workspace", "other")
    assert (status, "--remove first" in err) == (1, True)


async def test_a_removed_sender_is_gone_with_its_queues(bench: Bench, door: Door) -> None:
    await door("planner", "--workspace", "default")
    async with await aio_pika.connect(door.url()) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("planner.kept", durable=True)
        await queue.bind(topology.EVENTS, f"{DEFAULT_WORKSPACE}.job.#")
    for _ in range(2):  # harmless when repeated
        assert (await door("planner", "--remove"))[0] == 0
    assert await bench.rows("select 1 from senders") == []
    with pytest.raises(ConnectionError):
        await aio_pika.connect(door.url(), timeout=5)
    queues = (await bench.broker.api("GET", f"queues/{bench.broker.path}")).json()
    assert {queue["name"] for queue in queues} == set(topology.QUEUES)


async def test_a_password_is_made_up_and_told_once(bench: Bench, door: Door) -> None:
    nothing = {"POINTMILL_SENDER_PASSWORD": ""}
    _, out, _ = await door("planner", "--workspace", "default", **nothing)
    password = re.search(r"^password (\S{30,})$", out, re.MULTILINE)
    assert password
    async with await aio_pika.connect(door.url(password[1])):
        pass
    assert "password" not in (await door("planner", "--workspace", "default", **nothing))[1]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("gateway", "--workspace", "default"), 2, "none of our own users"),
        (("pointmill", "--workspace", "default"), 2, "none of our own users"),
        (("Pl.*", "--workspace", "default"), 2, "none of our own users"),
        (("planner",), 2, "--workspace"),
        (("planner", "--workspace", "default", "--kind", ".*"), 2, "is no kind"),
        (("planner", "--workspace", "nowhere"), 1, "There is no workspace nowhere"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_a_sentence(
    door: Door, arguments: tuple[str, ...], status: int, words: str
) -> None:
    ended, _, err = await door(*arguments)
    assert ended == status
    assert words in err
    assert "Traceback" not in err

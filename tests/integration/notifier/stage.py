"""A stage for the notifier: everything around it, and its process."""

import asyncio
import base64
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import aiohttp

from shared.bus import Bus, Outgoing
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database
from tests.integration.notifier.receivers import Mailbox, Receiver, until

CHECKOUT = Path(__file__).parents[3]


@dataclass(frozen=True)
class End:
    """A job that has ended: its event, and the message that says so, not yet published."""

    job: UUID
    event: str
    outgoing: Outgoing


class NotifierProcess:
    """`python -m services.notifier`, running."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    async def ready(self) -> bool:
        with suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}/readyz") as response,
            ):
                return response.status == 200
        return False

    async def metrics(self) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.port}/metrics") as response,
        ):
            return await response.text()

    async def stop(self) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await self.process.wait()

    async def kill(self) -> None:
        """Kill it, whatever it is doing."""
        self.process.kill()
        await self.process.wait()

    async def killed(self) -> None:
        """Wait until a failpoint has killed it."""
        async with asyncio.timeout(20):
            assert await self.process.wait() == -signal.SIGKILL, self.log.read_text()


@dataclass
class Stage:
    """Everything around the notifier."""

    database: Database
    broker: Broker
    receiver: Receiver
    mailbox: Mailbox
    folder: Path
    bus: Bus

    @asynccontextmanager
    async def notifier(
        self, failpoints: str = "", *, wait: bool = True, **settings: Any
    ) -> AsyncIterator[NotifierProcess]:
        """A notifier; at the end it is stopped, must exit with 0, and nothing may have failed in it."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        log = self.folder / f"notifier-{port}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.notifier",
                env=self._environment(port, failpoints, settings), cwd=CHECKOUT, stderr=file,
            )  # fmt: skip
        running = NotifierProcess(process, port, log)
        try:
            if wait:
                await until(running.ready, 30)
            yield running
            if process.returncode is None:
                assert await running.stop() == 0, log.read_text()
                assert "exception" not in log.read_text()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _environment(self, port: int, failpoints: str, settings: dict[str, Any]) -> dict[str, str]:
        own = {
            "database_url": self.database.url("notifier"),
            "amqp_url": self.broker.url("notifier"),
            "smtp_url": f"smtp://127.0.0.1:{self.mailbox.port}",
            "mail_from": "Pointmill <mill@example.test>",
            "public_url": "http://pointmill.example.test",
            "allow_private_webhooks": "true",
            "port": port,
            "lease_seconds": 4,
            "reconcile_seconds": 3600,
            **settings,
        }
        return {
            "PATH": os.environ["PATH"],
            "POINTMILL_FAILPOINTS": failpoints,
            **{f"NOTIFIER_{name.upper()}": str(value) for name, value in own.items()},
        }

    async def run(self, statement: str, *arguments: Any) -> list[Any]:
        """A statement as the superuser."""
        async with self.database.connected() as connection:
            return await connection.fetch(statement, *arguments)

    async def add_webhook(self, path: str, secret: str | None = None) -> UUID:
        key = secret or f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
        rows = await self.run(
            "insert into webhooks (workspace_id, url, secret) select id, $1, $2 from workspaces returning id",
            self.receiver.url(path), key,
        )  # fmt: skip
        return cast("UUID", rows[0]["id"])

    async def add_cloud(self, name: str) -> UUID:
        rows = await self.run(
            """insert into clouds (workspace_id, name, state, source_name, source_object, source_bytes,
                                   source_crc32c)
               select id, $1, 'stored', $1, $2, 4212345, '00000000' from workspaces returning id""",
            name, uuid4().hex,
        )  # fmt: skip
        return cast("UUID", rows[0]["id"])

    async def end_job(
        self,
        kind: str = "demo.print",
        *,
        cloud: UUID | None = None,
        error: dict[str, str] | None = None,
        result: dict[str, Any] | None = None,
        products: list[dict[str, Any]] | None = None,
    ) -> End:
        """A job that goes the whole way in the database; its messages stay in the outbox."""
        workspace = (await self.run("select id from workspaces"))[0]["id"]
        async with self.database.connected("gateway") as gateway:
            job = await gateway.fetchval(
                "select id from create_job($1, $2, '{}', $3, 0::smallint, 'test')",
                workspace, kind, cloud,
            )  # fmt: skip
        async with self.database.connected("processor") as processor:
            attempt = await processor.fetchval(
                "select attempt from claim_job('test', array[$1::text], 60, $2)", kind, uuid4()
            )
            if error is None:
                await processor.execute(
                    "select finish_job($1, $2, $3, $4, null)",
                    job, attempt, json.dumps(result or {}), json.dumps(products or []),
                )  # fmt: skip
            else:
                await processor.execute(
                    "select fail_job($1, $2, $3, false, null)", job, attempt, json.dumps(error)
                )
        return await self._end(job)

    async def _end(self, job: UUID) -> End:
        row = (
            await self.run(
                """select e.event_id, o.exchange, o.routing_key, e.message
                   from job_events e join outbox o on o.message ->> 'id' = e.event_id::text
                   where e.job_id = $1 and e.type in ('succeeded', 'failed', 'cancelled')""",
                job,
            )
        )[0]
        outgoing = Outgoing(row["exchange"], row["routing_key"], json.loads(row["message"]))
        return End(job, str(row["event_id"]), outgoing)

    async def tell(self, *ends: End, times: int = 1) -> None:
        """Publish the messages as the processor's relay does."""
        for end in ends * times:
            await self.bus.publisher.publish(end.outgoing)

    async def settled(self, count: int) -> None:
        """Wait until so many deliveries have ended, and no more are pending."""

        async def all_ended() -> bool:
            states = [delivery["state"] for delivery in await self.deliveries()]
            return len(states) == count and "pending" not in states

        await until(all_ended)

    async def mail_sent(self) -> bool:
        """Whether a mail has gone out and is known to have."""
        return any(
            (delivery["channel"], delivery["state"]) == ("email", "sent")
            for delivery in await self.deliveries()
        )

    async def refused(self, tries: int) -> Any:
        """Wait until a delivery has failed so many times and waits for its next try; that delivery."""
        found: list[Any] = []

        async def is_postponed() -> bool:
            found[:] = [
                delivery
                for delivery in await self.deliveries()
                if (delivery["state"], delivery["tries"]) == ("pending", tries)
                and delivery["last_error"] is not None
            ]
            return bool(found)

        await until(is_postponed)
        return found[0]

    async def deliveries(self) -> list[Any]:
        return await self.run(
            """select channel, recipient, state::text, tries, last_error, event_id::text,
                      extract(epoch from next_at - now())::float8 as pause
               from deliveries order by channel, created_at"""
        )

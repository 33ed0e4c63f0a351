"""A client that does what clients do: writes down what it was promised, and repeats what got no answer."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import aiohttp

from tests.fixtures.invariants import Ledger
from tests.fixtures.system import System

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.2
PIECE = 16 << 10

Body = Callable[[], bytes | AsyncIterator[bytes]]
"""What to send, made anew for each try."""


@dataclass
class Answer:
    """A final answer: what it says, and its status."""

    status: int
    body: dict[str, Any]


@dataclass
class Client:
    """Talks to the gateway of a system and keeps the ledger.

    Attributes:
        tries: how many requests were sent; more than the calls made, once something was repeated.
    """

    system: System
    ledger: Ledger = field(default_factory=Ledger)
    tries: int = 0

    async def register_hook(self) -> None:
        """Ask to be told of every end."""
        self.ledger.hooks.append(await self.system.register_webhook())

    async def upload(self, name: str, body: bytes, expected: dict[str, Any], **how: Any) -> str:
        """Make a cloud of a file; its job's id. `slowly=SECONDS` lasts about so long."""
        answer = await self._send_file("POST", f"/v1/clouds?name={name}", body, **how)
        assert answer.status == 201, answer.body
        return self._accepted(answer.body["cloud"]["id"], answer.body["job"]["id"], body, expected)

    async def make_cloud(self, name: str) -> str:
        """Make an empty cloud, to be filled by `fill`; its id."""
        async with self.system.client.post("/v1/clouds", json={"name": name}) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    async def fill(self, cloud: str, name: str, body: bytes, expected: dict[str, Any]) -> str:
        """Upload the file of an empty cloud; its job's id.

        A repeat that is told that the cloud has its file already knows that the first was accepted.
        """
        answer = await self._send_file("PUT", f"/v1/clouds/{cloud}/file?name={name}", body)
        job = answer.body.get("job", {}).get("id")
        if answer.status == 409:
            assert answer.body["code"] == "cloud_already_stored"
            job = (await self.send("GET", f"/v1/clouds/{cloud}")).body["job"]
        else:
            assert answer.status == 201, answer.body
        return self._accepted(cloud, job, body, expected)

    async def order(
        self,
        kind: str,
        expected: dict[str, Any],
        *,
        cloud: str | None = None,
        after: Sequence[str] = (),
        gathers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> str:
        """Order a job; its id. The Idempotency-Key makes a repeat harmless.

        It waits for the jobs `after`, and takes what those of `gathers` have gathered under their names.
        """
        order: dict[str, Any] = {"kind": kind, "params": params, "cloud": cloud}
        if after:
            order["after"] = list(after)
        if gathers:
            order["inputs"] = {
                name: {"job": job, "product": "gathered"} for name, job in gathers.items()
            }
        answer = await self.send(
            "POST",
            "/v1/jobs",
            json=order,
            headers={"Idempotency-Key": secrets.token_hex(8)},
        )
        assert answer.status == 202, answer.body
        self.ledger.expected[answer.body["id"]] = expected
        return str(answer.body["id"])

    async def schedule(
        self, kind: str, expected: dict[str, Any], *, seconds: float, **params: Any
    ) -> str:
        """Have a job ordered in some seconds; its id, once it was ordered."""
        order = {"name": secrets.token_hex(8), "kind": kind, "params": params}
        while (schedule := await self._schedule(order["name"])) is None:
            at = datetime.now(UTC) + timedelta(seconds=seconds)
            answer = await self.send("POST", "/v1/schedules", json={**order, "at": at.isoformat()})
            # A repeat may come too late, or after one whose answer was lost; the list says which.
            known = {"time_passed", "schedule_name_taken"}
            assert answer.status == 201 or answer.body["code"] in known, answer.body
        # Which job a time makes does not depend on who makes it, and how often.
        at = datetime.fromisoformat(schedule["at"])
        job = str(uuid5(UUID(schedule["id"]), at.astimezone(UTC).isoformat()))
        self.ledger.expected[job] = expected
        async with asyncio.timeout(PATIENCE_SECONDS):
            while schedule is None or schedule["last_job"] is None:
                await asyncio.sleep(PAUSE_SECONDS)
                schedule = await self._schedule(order["name"])
        assert schedule["last_job"] == job
        return job

    async def _schedule(self, name: str) -> dict[str, Any] | None:
        answer = await self.send("GET", "/v1/schedules?limit=200")
        assert answer.status == 200, answer.body
        return next((one for one in answer.body["items"] if one["name"] == name), None)

    async def cancel(self, job: str) -> None:
        """Ask to cancel a job."""
        answer = await self.send("POST", f"/v1/jobs/{job}/cancel")
        assert answer.status == 202, answer.body

    def _accepted(self, cloud: str, job: str, body: bytes, expected: dict[str, Any]) -> str:
        self.ledger.uploads[cloud] = body
        self.ledger.expected[job] = expected
        return job

    async def _send_file(self, method: str, path: str, body: bytes, slowly: float = 0.0) -> Answer:
        return await self.send(
            method,
            path,
            lambda: in_pieces(body, slowly),
            unanswered=lambda: self.ledger.unanswered.append(body),
        )

    async def send(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        unanswered: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> Answer:
        """Send until there is an answer that is not the server's own trouble."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        trouble = ""
        while time.monotonic() < deadline:
            self.tries += 1
            if body is not None:
                options["data"] = body()
            try:
                async with self.system.client.request(method, path, **options) as answer:
                    if answer.status < 500:
                        return Answer(answer.status, await answer.json())
                    trouble = f"{answer.status} {await answer.text()}"
            except aiohttp.ClientConnectorError as error:
                trouble = repr(error)  # nothing was sent
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except (aiohttp.ClientError, TimeoutError) as error:
                trouble = repr(error)
            unanswered()
            await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError(f"{method} {path}: no answer for {PATIENCE_SECONDS} s: {trouble}")


async def in_pieces(body: bytes, seconds: float = 0.0) -> AsyncIterator[bytes]:
    """The body in small pieces, spread over some seconds."""
    pieces = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
    for piece in pieces:
        yield piece
        await asyncio.sleep(seconds / len(pieces))

"""The HTTP API as an object: one method per thing one can ask for; it hands out the API's objects."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import aiohttp

from services.gateway.client.backoff import Backoff
from services.gateway.client.events import Event, EventParser
from services.gateway.client.failures import Refused, Unreachable, unexpected

Document = dict[str, Any]

ENDED = frozenset({"succeeded", "failed", "cancelled"})
# About fifteen seconds of patience: a service that restarts is back by then.
ATTEMPTS = 8
ANSWER_SECONDS = 60.0
# Longer than the server's pause between two signs of life on a stream.
SILENCE_SECONDS = 45.0
PAGE = 100
PROBLEM_BYTES = 1 << 20
TIMEOUT = aiohttp.ClientTimeout(
    total=None, sock_connect=10, connect=30, sock_read=ANSWER_SECONDS, ceil_threshold=60
)


class Pointmill:
    """A connection to one server with one API key; an async context manager.

    Every method raises `Unreachable` when no answer comes, `Refused` when the answer is no, and a
    plain `Failure` when the answer makes no sense.
    """

    def __init__(self, url: str, api_key: str) -> None:
        """Name the server (`https://host[/prefix]`) and the key; nothing is sent yet."""
        self.url = url.rstrip("/")
        self._key = api_key
        self._session: aiohttp.ClientSession | None = None
        # Patience is for a server that was there a moment ago, not for a wrong address.
        self._reached = False

    async def __aenter__(self) -> Self:
        """Open the connections' pool."""
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}", "User-Agent": "pointmill"},
            timeout=TIMEOUT,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def open(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One try of one request; the response is there to be read inside the block.

        Args:
            method: the HTTP method.
            path: what follows the server's address, from `/v1` on, already quoted.
            options: passed to aiohttp (`params`, `json`, `data`, `headers`, `timeout`, …).
        """
        if self._session is None:
            raise RuntimeError("a Pointmill is used inside `async with`")
        try:
            async with self._session.request(
                method, f"{self.url}{path}", allow_redirects=False, **options
            ) as response:
                self._reached = True
                if response.status >= 400:
                    body = await response.content.read(PROBLEM_BYTES)
                    raise Refused.of(response.status, response.reason or "", body)
                if response.status >= 300:
                    where = response.headers.get("Location", "elsewhere")
                    raise unexpected(self.url, f"with a redirect to {where}")
                yield response
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise Unreachable(f"{self.url} {_what_broke(error)}.") from error

    async def ask(
        self, method: str, path: str, *, attempts: int = ATTEMPTS, **options: Any
    ) -> Document:
        """Ask, again if need be, and return the answered object.

        A request that is asked again must be harmless to repeat: it reads, its effect is the same
        the second time, or it carries an `Idempotency-Key`.
        """
        backoff = Backoff(attempts)
        while True:
            try:
                async with self.open(method, path, **options) as response:
                    return await read_object(response, self.url)
            except (Unreachable, Refused) as failure:
                if not self._reached:
                    raise
                await backoff.pause(failure)

    async def pages(
        self, path: str, params: Mapping[str, str], limit: int | None = None
    ) -> AsyncIterator[Document]:
        """The objects of a list, at most `limit`, read page by page."""
        cursor: str | None = None
        left = sys.maxsize if limit is None else limit
        while left > 0:
            asked = {**params, "limit": str(min(PAGE, left))}
            if cursor is not None:
                asked["cursor"] = cursor
            answer = await self.ask("GET", path, params=asked)
            for item in answer.get("items", [])[:left]:
                left -= 1
                yield item
            cursor = answer.get("next")
            if cursor is None:
                return

    async def job(self, job_id: str, *, attempts: int = ATTEMPTS) -> Document:
        """A job as it is now."""
        return await self.ask("GET", f"/v1/jobs/{quote(job_id, safe='')}", attempts=attempts)

    async def create_job(self, kind: str, params: Document, **more: Any) -> Document:
        """Order a job; `more` is what else the order says. Asked twice, it is ordered once."""
        return await self.ask(
            "POST",
            "/v1/jobs",
            json={"kind": kind, "params": params, **more},
            headers={"Idempotency-Key": str(uuid4())},
        )

    async def cancel_job(self, job_id: str) -> Document:
        """Ask for the end of a job."""
        return await self.ask("POST", f"/v1/jobs/{quote(job_id, safe='')}/cancel")

    async def retry_job(self, job_id: str) -> Document:
        """Order a failed or cancelled job once more, as a new job; asked only once."""
        return await self.ask("POST", f"/v1/jobs/{quote(job_id, safe='')}/retry", attempts=1)

    async def change_jobs(self, what: str, wanted: Mapping[str, str]) -> Document:
        """Cancel or retry (`what`) a batch of the jobs that are meant; `left` says how many are left."""
        return await self.ask("POST", f"/v1/jobs/{what}", json=dict(wanted))

    async def cloud(self, cloud_id: str) -> Document:
        """A cloud as it is now."""
        return await self.ask("GET", f"/v1/clouds/{quote(cloud_id, safe='')}")

    async def products(self, cloud_id: str) -> list[Document]:
        """What was made of a cloud."""
        answer = await self.ask("GET", f"/v1/clouds/{quote(cloud_id, safe='')}/products")
        return list(answer.get("items", []))

    async def kinds(self) -> list[Document]:
        """The kinds of jobs that there are."""
        answer = await self.ask("GET", "/v1/kinds")
        return list(answer.get("items", []))

    async def project_named(self, name: str) -> Document:
        """The project of this name; it is made if there is none."""
        try:
            return await self.ask("POST", "/v1/projects", json={"name": name})
        except Refused as refusal:
            if refusal.code != "project_name_taken":
                raise
        async for project in self.pages("/v1/projects", {}):
            if project["name"] == name.strip():
                return project
        # Deleted or renamed between the two looks.
        return await self.ask("POST", "/v1/projects", json={"name": name})

    async def events(self, job_id: str, after: str | None) -> AsyncIterator[Event]:
        """A job's events as they happen, those after the event id `after`, on one connection."""
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = after
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_SECONDS)
        path = f"/v1/jobs/{quote(job_id, safe='')}/events"
        parser = EventParser()
        async with self.open("GET", path, headers=headers, timeout=timeout) as response:
            if response.content_type != "text/event-stream":
                raise unexpected(self.url, f"with {response.content_type} instead of events")
            async for chunk in response.content.iter_any():
                try:
                    events = parser.feed(chunk)
                except ValueError as error:
                    raise unexpected(self.url, f"with {error}") from error
                for event in events:
                    yield event


async def read_object(response: aiohttp.ClientResponse, url: str) -> Document:
    """The JSON object in the body, `{}` if there is no body; raises a Failure for anything else."""
    async with asyncio.timeout(ANSWER_SECONDS):
        body = await response.read()
    if response.status == 204:
        return {}
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise unexpected(url, f"{response.status} with {response.content_type}, not with our JSON")
    return answer


def _what_broke(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return f"could not be trusted: {error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        # asyncio puts its own words and the address in the place of what the kernel says.
        known = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
        return f"cannot be reached ({known})"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    return "broke the connection"

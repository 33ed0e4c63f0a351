"""What the notifier talks to: receivers of webhooks and mails that keep what they get."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Answer:
    """How the receiver answers once."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    seconds: float = 0


@dataclass(frozen=True)
class Call:
    """A webhook that arrived."""

    path: str
    headers: dict[str, str]
    body: str
    at: float

    @property
    def event(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Takes webhooks; answers each path from its script, then always with the script's last answer."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.scripts: dict[str, list[Answer]] = {}
        self.port = 0
        self.endless = False
        self.sent = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.endless:
            return await self._go_on_for_ever(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.text()
        self.calls.append(Call(request.path, headers, body, time.monotonic()))
        script = self.scripts.get(request.path, [Answer()])
        answer = script.pop(0) if len(script) > 1 else script[0]
        await asyncio.sleep(answer.seconds)
        return web.Response(status=answer.status, headers=answer.headers, text=answer.text)

    async def _go_on_for_ever(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 100_000)
            self.sent += 100_000

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Receiver"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()


class Mailbox:
    """Takes mails; answers from `replies` first, then accepts."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.replies: list[str] = []
        self.port = 0

    @property
    def events(self) -> list[str]:
        return [mail["X-Pointmill-Event"] for mail in self.mails]

    # The name is aiosmtpd's.
    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        reply = self.replies.pop(0) if self.replies else "250 OK"
        if reply.startswith("2"):
            parsed = message_from_bytes(envelope.original_content or b"", policy=policy.default)
            self.mails.append(parsed)
        return reply

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Mailbox"]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(self, enable_SMTPUTF8=True, hostname="mail.test"), "127.0.0.1", self.port
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()


def body(mail: EmailMessage, kind: str) -> str:
    """The text of a mail, `plain` or `html`."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until the condition holds."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = condition()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"It did not happen within {seconds} s.")

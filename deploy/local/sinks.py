"""Takes the mails and webhooks of a local stack and shows what arrived.

    SINKS_HTTP_PORT=… SINKS_SMTP_PORT=… SINKS_FOLDER=… python -m deploy.local.sinks

Every delivery is kept, repeated ones too: whether something is told twice is what one looks for.
Only on 127.0.0.1, for trying out and for tests.

    GET  /            a page for people
    GET  /mails       everything that arrived by SMTP, oldest first
    GET  /webhooks    everything that was posted to a hook, oldest first
    POST /hooks/NAME  a hook
    PUT  /hooks/NAME  {"secret": "whsec_…", "statuses": [500, 503]}: check signatures with this secret;
                      answer the next deliveries with these statuses, and 200 after them
    PUT  /mailbox     {"replies": ["451 try again"]}: answer the next mails so, and accept after them
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks import Webhook, WebhookVerificationError

from deploy.local import sinks_page

_LARGEST_BODY = 1 << 20


@dataclass
class Ledger:
    """What arrived, in memory and as one JSON document a line, so that a restart forgets nothing."""

    path: Path
    entries: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> None:
        """Read what earlier runs wrote."""
        if not self.path.exists():
            return
        text = self.path.read_text()
        for line in text.splitlines():
            # The last line is cut when the process was killed while it wrote.
            with contextlib.suppress(ValueError):
                self.entries.append(json.loads(line))
        if text and not text.endswith("\n"):
            self.path.write_text(f"{text}\n")

    def add(self, entry: dict[str, Any]) -> None:
        """Number, date and keep one arrival."""
        numbered = {"number": len(self.entries) + 1, "received_at": _now(), **entry}
        self.entries.append(numbered)
        with self.path.open("a") as file:
            file.write(json.dumps(numbered) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Hook:
    """How one hook behaves: the secret it checks with, and the answers it still has to give."""

    secret: str | None = None
    statuses: list[int] = field(default_factory=list)


class Sinks:
    """Both sinks; one process, one loop."""

    def __init__(self, folder: Path) -> None:
        """Read what `folder` holds from earlier runs."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.mails = Ledger(folder / "mails.jsonl")
        self.webhooks = Ledger(folder / "webhooks.jsonl")
        self.mails.read()
        self.webhooks.read()
        self.replies: list[str] = []
        self._secrets = folder / "secrets.json"
        known = json.loads(self._secrets.read_text()) if self._secrets.exists() else {}
        self.hooks = {name: Hook(secret) for name, secret in known.items()}

    def application(self) -> web.Application:
        """The HTTP side."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/livez", self._livez),
                web.get("/mails", self._list_mails),
                web.get("/webhooks", self._list_webhooks),
                web.post("/hooks/{name}", self._deliver),
                web.put("/hooks/{name}", self._configure_hook),
                web.put("/mailbox", self._configure_mailbox),
            ]
        )
        return app

    async def _page(self, _request: web.Request) -> web.Response:
        page = sinks_page.render(self.mails.entries, self.webhooks.entries)
        return web.Response(text=page, content_type="text/html")

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _list_mails(self, _request: web.Request) -> web.Response:
        return web.json_response({"items": self.mails.entries})

    async def _list_webhooks(self, _request: web.Request) -> web.Response:
        return web.json_response({"items": self.webhooks.entries})

    async def _deliver(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        hook = self.hooks.setdefault(name, Hook())
        body = await request.read()
        status = hook.statuses.pop(0) if hook.statuses else 200
        self.webhooks.add(
            {
                "hook": name,
                "id": request.headers.get("webhook-id"),
                "timestamp": request.headers.get("webhook-timestamp"),
                "verified": _verified(hook, body, dict(request.headers)),
                "answered": status,
                "headers": dict(request.headers),
                "body": _parsed(body),
            }
        )
        return web.json_response({}, status=status)

    async def _configure_hook(self, request: web.Request) -> web.Response:
        hook = self.hooks.setdefault(request.match_info["name"], Hook())
        wanted = await request.json()
        hook.secret = wanted.get("secret", hook.secret)
        hook.statuses = [int(status) for status in wanted.get("statuses", [])]
        known = {name: each.secret for name, each in self.hooks.items() if each.secret}
        self._secrets.touch(mode=0o600)
        self._secrets.write_text(json.dumps(known))
        return web.Response(status=204)

    async def _configure_mailbox(self, request: web.Request) -> web.Response:
        self.replies = [str(reply) for reply in (await request.json()).get("replies", [])]
        return web.Response(status=204)

    # The name is aiosmtpd's.
    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take one mail."""
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        text = message.get_body(("plain", "html"))
        reply = self.replies.pop(0) if self.replies else "250 OK"
        self.mails.add(
            {
                "sender": envelope.mail_from,
                "recipients": envelope.rcpt_tos,
                "message_id": message["Message-ID"],
                "subject": message["Subject"],
                "answered": reply,
                "headers": {name: str(value) for name, value in message.items()},
                "text": text.get_content() if text is not None else "",
            }
        )
        return reply


def _verified(hook: Hook, body: bytes, headers: dict[str, str]) -> bool | None:
    """Whether the signature is good; None when the hook's secret is not known."""
    if hook.secret is None:
        return None
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        Webhook(hook.secret).verify(body.decode(), lower)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


async def run(http_port: int, smtp_port: int, folder: Path) -> None:
    """Serve both until SIGTERM or SIGINT."""
    sinks = Sinks(folder)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    smtp = await loop.create_server(
        lambda: SMTP(sinks, enable_SMTPUTF8=True, hostname="sinks.local"), "127.0.0.1", smtp_port
    )
    runner = web.AppRunner(sinks.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", http_port).start()
    await stopping.wait()
    smtp.close()
    await runner.cleanup()


def main() -> int:
    """The command line."""
    try:
        http_port = int(os.environ["SINKS_HTTP_PORT"])
        smtp_port = int(os.environ["SINKS_SMTP_PORT"])
        folder = Path(os.environ["SINKS_FOLDER"])
    except (KeyError, ValueError) as error:
        sys.stderr.write(f"Set SINKS_HTTP_PORT, SINKS_SMTP_PORT and SINKS_FOLDER ({error}).\n")
        return 2
    asyncio.run(run(http_port, smtp_port, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())

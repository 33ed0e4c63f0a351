"""A dead message as it arrived: nothing about it need be right, and nothing of it is lost."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aio_pika.abc import AbstractIncomingMessage

from shared.messages.envelope import MAX_BODY_BYTES
from shared.process import mask

LONGEST_TEXT = 1000
MOST_HEADERS = 50
DEEPEST = 4
SECRET_HEADERS = ("authorization", "password", "secret", "token", "cookie", "api-key", "apikey")


@dataclass(frozen=True)
class Letter:
    """A message taken from a queue of dead letters.

    Attributes:
        body: all of it.
        queue: where it died; None when it was never in a queue (unrouted).
        exchange: to which it was published.
        routing_key: under which it was published.
        user_id: the sender as the broker has proved it; None when the sender left it out.
        reason: the broker's word for why it died (`rejected`, `delivery_limit`, …).
        message_id: as its sender has called it.
        headers: what else it carried, readable and bounded, without what looks like a secret.
        redelivered: whether this delivery is one again.
    """

    body: bytes
    queue: str | None
    exchange: str
    routing_key: str
    user_id: str | None
    reason: str
    message_id: str | None
    headers: Mapping[str, Any]
    redelivered: bool

    @property
    def kept(self) -> bytes:
        """As much of the body as any reader takes."""
        return self.body[:MAX_BODY_BYTES]


def read_letter(message: AbstractIncomingMessage) -> Letter:
    """The letter in a message; `x-death` says where it died first, and why."""
    death = first_death(message.headers)
    keys = death.get("routing-keys")
    key = keys[0] if isinstance(keys, list) and keys else message.routing_key
    queue = death.get("queue")
    return Letter(
        body=message.body,
        queue=None if queue is None else clean(queue),
        exchange=clean(death.get("exchange", message.exchange)),
        routing_key=clean(key or ""),
        user_id=None if message.user_id is None else clean(message.user_id),
        reason=clean(death.get("reason", "unrouted")),
        message_id=None if message.message_id is None else clean(message.message_id),
        headers=readable_headers(message.headers),
        redelivered=bool(message.redelivered),
    )


def first_death(headers: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The oldest entry of `x-death`, which lists the latest first; {} when there is none."""
    deaths = (headers or {}).get("x-death")
    last = deaths[-1] if isinstance(deaths, list) and deaths else None
    return last if isinstance(last, Mapping) else {}


def readable_headers(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """AMQP's table as bounded JSON."""
    return {
        clean(name): "***" if _is_secret(name) else _readable(value, 0)
        for name, value in list((headers or {}).items())[:MOST_HEADERS]
    }


def _is_secret(name: object) -> bool:
    return any(word in str(name).lower().replace("_", "-") for word in SECRET_HEADERS)


def _readable(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        # What JSON has no number for is a word.
        return value if not isinstance(value, float) or abs(value) < 1e300 else str(value)
    if isinstance(value, bytes):
        return clean(base64.b64encode(value[:LONGEST_TEXT]).decode())
    if isinstance(value, datetime):
        return value.isoformat()
    if depth < DEEPEST and isinstance(value, Mapping):
        items = list(value.items())[:MOST_HEADERS]
        return {clean(k): "***" if _is_secret(k) else _readable(v, depth + 1) for k, v in items}
    if depth < DEEPEST and isinstance(value, list):
        return [_readable(item, depth + 1) for item in value[:MOST_HEADERS]]
    return clean(value)


def clean(value: object) -> str:
    """Text that PostgreSQL and JSON can hold: bounded, without NUL, lone surrogates and known secrets."""
    text = str(value)[:LONGEST_TEXT].replace("\x00", "\ufffd")
    return mask(text.encode(errors="replace").decode())

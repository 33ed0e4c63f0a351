"""One HTTP request on the loopback address, by the standard library alone."""

import base64
import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def call(
    method: str,
    url: str,
    *,
    body: Any = None,
    headers: dict[str, str] | None = None,
    timeout: float = 10,
) -> Answer:
    """Send one request; a user and password in `url` go into basic authentication.

    Raises:
        OSError: nothing answers there within `timeout` seconds.
    """
    parts = urlsplit(url)
    sent = dict(headers or {})
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    payload = None
    if body is not None:
        payload = json.dumps(body)
        sent["Content-Type"] = "application/json"
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout)
    try:
        connection.request(method, target, body=payload, headers=sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read())
    except http.client.HTTPException as error:
        # A server that is just starting or stopping may hang up in the middle.
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def lines(url: str, *, headers: dict[str, str], timeout: float) -> Iterator[bytes]:
    """The lines of an answer as they come, until it ends.

    Raises:
        OSError: nothing answers, or nothing comes for `timeout` seconds.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path, headers=headers)
        with connection.getresponse() as answer:
            yield from answer
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()

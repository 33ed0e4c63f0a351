"""Tell a program: POST the event to a webhook, signed as Standard Webhooks says.

The id in the signature is the event's, the same in every repeat, so that a receiver can drop what
it has seen. Source: Standard Webhooks specification 1.0.0, "Signature scheme", "HTTP delivery".
"""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import UUID

import aiohttp
import orjson
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook
from yarl import URL

from services.notifier.channels.egress import TOTAL_SECONDS
from services.notifier.channels.notice import GiveUp, Notice, RecipientGone, TryAgain
from services.notifier.resources import Notifier
from shared.messages import CONTENT_TYPE

# Of an answer only its beginning is read, for the reason. What the receiver sends beyond waits in
# the library's buffer, 128 kB at most, until the connection is closed.
REASON_BYTES = 1000
REASON_CHARACTERS = 200
LONGEST_PAUSE = 86_400.0


async def send(notifier: Notifier, notice: Notice) -> None:
    """Deliver the notice.

    Raises:
        NotDelivered: why not, and what follows.
        DatabaseUnavailable: nothing was sent.
    """
    webhook = await notifier.database.row("read_webhook", UUID(notice.recipient))
    if webhook is None:
        raise GiveUp("The webhook was deleted.")
    if webhook["disabled_at"] is not None:
        raise GiveUp("The webhook is disabled.")
    url = read_url(webhook["url"], allow_http=notifier.settings.allow_private_webhooks)
    body = orjson.dumps(notice.message)
    headers = sign(webhook["secret"], str(notice.event_id), body, datetime.now(UTC))
    await post(notifier.web, url, headers, body)


def read_url(text: str, *, allow_http: bool) -> URL:
    """The URL of a webhook.

    Raises:
        GiveUp: it is not one that may be called.
    """
    try:
        url = URL(text)
    except ValueError as error:
        raise GiveUp("The URL cannot be read.") from error
    if url.scheme not in ({"https", "http"} if allow_http else {"https"}) or not url.host:
        raise GiveUp("The URL does not begin with https://.")
    return url


def sign(secret: str, event_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a delivery.

    Args:
        secret: `whsec_` and the key in base64.
        event_id: the same for every try.
        body: exactly what is sent.
        now: with a time zone, UTC: the library takes any other for UTC too.

    Raises:
        GiveUp: the secret is not one.
    """
    try:
        signature = Webhook(secret).sign(event_id, now, body.decode())
    except (ValueError, EmptyWebhookSecretError) as error:
        raise GiveUp("The webhook's secret cannot be used; make a new webhook.") from error
    return {
        "Content-Type": CONTENT_TYPE,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }


async def post(web: aiohttp.ClientSession, url: URL, headers: dict[str, str], body: bytes) -> None:
    """Post a signed body and judge the answer.

    Raises:
        NotDelivered: no connection, no answer in time, or an answer other than 2xx.
    """
    try:
        async with web.post(url, data=body, headers=headers, allow_redirects=False) as response:
            await _judge(response)
    except TimeoutError as error:
        raise TryAgain(f"The receiver did not answer within {TOTAL_SECONDS} s.") from error
    except aiohttp.InvalidURL as error:
        raise GiveUp("The URL cannot be called.") from error
    except aiohttp.ClientConnectorError as error:
        why = error.os_error.strerror or type(error.os_error).__name__
        raise TryAgain(f"The receiver was not reached: {why}.") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise TryAgain(f"The exchange with the receiver broke: {type(error).__name__}.") from error


async def _judge(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    reason = f"The receiver answered {status}{await _beginning(response)}"
    if status == 410:
        raise RecipientGone(reason)
    if 300 <= status < 400:
        raise TryAgain(f"The receiver answered {status}; redirects are not followed.")
    asked = response.headers.get("Retry-After", "") if status in {429, 503} else ""
    raise TryAgain(reason, after=read_pause(asked, time.time()))


async def _beginning(response: aiohttp.ClientResponse) -> str:
    try:
        data = await response.content.read(REASON_BYTES)
    except (TimeoutError, aiohttp.ClientError):
        return "."
    text = "".join(c if c.isprintable() else " " for c in data.decode(errors="replace"))
    words = " ".join(text.split())[:REASON_CHARACTERS]
    return f": {words}" if words else "."


def read_pause(retry_after: str, now: float) -> float:
    """The seconds that a Retry-After header asks for: a number or a date; 0 when it says nothing.

    Source: RFC 9110 section 10.2.3.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (TypeError, ValueError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_PAUSE)

"""How a webhook is signed and read, and what its answers mean."""

import base64
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.notifier.channels.notice import GiveUp
from services.notifier.channels.webhook import LONGEST_PAUSE, read_pause, read_url, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_the_signature_is_that_of_the_specification() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = sign(SECRET, EVENT, b'{"test": 2432232314}', at)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-id"] == EVENT


def test_a_receiver_verifies_the_body_and_refuses_another() -> None:
    headers = sign(SECRET, EVENT, '{"name":"größe"}'.encode(), datetime.now(UTC))
    assert Webhook(SECRET).verify('{"name":"größe"}', headers) == {"name": "größe"}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify('{"name":"klein"}', headers)
    other = base64.b64encode(b"another key of some bytes").decode()
    with pytest.raises(WebhookVerificationError):
        Webhook(f"whsec_{other}").verify('{"name":"größe"}', headers)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_A"])
def test_a_secret_that_is_none_ends_the_delivery(secret: str) -> None:
    with pytest.raises(GiveUp):
        sign(secret, EVENT, b"{}", datetime.now(UTC))


@pytest.mark.parametrize(
    "url",
    ["http://example.org/", "file:///etc/passwd", "gopher://example.org", "javascript:alert(1)",
     "ftp://example.org", "//example.org", "example.org", "", "https://", "https:///x",
     "https://example.org:99999/", "https://[::1", "HTTP://example.org"],
)  # fmt: skip
def test_only_https_is_called(url: str) -> None:
    with pytest.raises(GiveUp):
        read_url(url, allow_http=False)


def test_http_is_called_where_it_is_allowed_and_nothing_else() -> None:
    assert read_url("https://example.org/x", allow_http=False).host == "example.org"
    assert read_url("http://127.0.0.1:8025/x", allow_http=True).port == 8025
    with pytest.raises(GiveUp):
        read_url("ftp://example.org", allow_http=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120), (" 5 ", 5), ("0", 0), ("-3", 0), ("", 0), ("soon", 0), ("1.5", 0), ("٣", 0),
        ("9" * 5000, LONGEST_PAUSE), ("100000", LONGEST_PAUSE),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 99 Oct 2015 07:28:00 GMT", 0),
    ],
)  # fmt: skip
def test_a_receiver_says_how_long_it_wants_to_be_left_alone(header: str, seconds: float) -> None:
    assert read_pause(header, time.time()) == seconds


def test_a_receiver_may_say_it_with_a_date() -> None:
    now = time.time()
    later = datetime.fromtimestamp(now, UTC) + timedelta(seconds=90)
    assert 89 <= read_pause(format_datetime(later, usegmt=True), now) <= 90

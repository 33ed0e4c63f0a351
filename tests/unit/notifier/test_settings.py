"""What the notifier's environment may say."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.notifier.settings import Settings

GOOD: dict[str, Any] = {
    "database_url": "postgresql://notifier:hidden@db/pm",
    "amqp_url": "amqp://notifier:hidden@mq",
    "smtp_url": "smtp://mill:hidden@mail.example.org:587",
    "mail_from": "Pointmill <mill@example.test>",
    "public_url": "https://mill.example.org",
}


def test_passwords_are_not_shown() -> None:
    assert "hidden" not in repr(Settings(**GOOD))


def test_webhooks_stay_outside_by_default() -> None:
    assert Settings(**GOOD).allow_private_webhooks is False


@pytest.mark.parametrize(
    ("name", "value"),
    [("smtp_url", "http://mail.example.org"), ("smtp_url", "smtp://"), ("mail_from", "Pointmill"),
     ("mail_from", "x@y\r\nBcc: z@y"), ("public_url", "mill.example.org"), ("lease_seconds", 0),
     ("retry_seconds", [-1]), ("port", 70_000), ("log_level", "LOUD")],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_the_start(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{**GOOD, name: value})

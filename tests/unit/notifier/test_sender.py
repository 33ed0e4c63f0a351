"""How many go to one endpoint at a time."""

from collections import Counter

from services.notifier.sender import SLOTS_FOR_MAIL, SLOTS_PER_WEBHOOK, busy


def test_an_endpoint_is_busy_when_its_slots_are_taken() -> None:
    sending = Counter(
        {"one": SLOTS_PER_WEBHOOK - 1, "two": SLOTS_PER_WEBHOOK, "email": SLOTS_FOR_MAIL - 1}
    )
    assert busy(sending) == ["two"]


def test_the_mail_server_has_slots_of_its_own() -> None:
    assert busy(Counter({"email": SLOTS_FOR_MAIL})) == ["email"]

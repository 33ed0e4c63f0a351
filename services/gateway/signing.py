"""Tickets: short texts that prove, without a key and to every replica, what the gateway has allowed.

A ticket is what it allows and until when, and an HMAC over both under the gateway's secret. Nothing
is kept: it cannot be taken back before its end, so it lives for hours at most.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any

from services.gateway.problems import SIGNING_UNAVAILABLE, TICKET_INVALID, Problem

_MAC_BYTES = 16
LONGEST_TICKET = 1000


class Signer:
    """Makes and reads tickets under secrets that all replicas share."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Sign by the first secret; tickets of the others are still good (for a change of secret)."""
        self._secrets = [hashlib.sha256(secret.encode()).digest() for secret in secrets]

    def sign(self, purpose: str, allowed: dict[str, Any], until: float) -> str:
        """A ticket.

        Args:
            purpose: what kind of ticket; one kind is never good for another.
            allowed: what it allows, as plain JSON.
            until: seconds since 1970.

        Raises:
            Problem: `signing_unavailable`, when the gateway was given no secret.
        """
        if not self._secrets:
            raise Problem(SIGNING_UNAVAILABLE)
        content = json.dumps([allowed, int(until)], separators=(",", ":")).encode()
        return _text(_mac(self._secrets[0], purpose, content) + content)

    def read(self, purpose: str, ticket: str) -> tuple[dict[str, Any], float]:
        """What the ticket allows, and until when.

        Raises:
            Problem: `ticket_invalid`, when it is not ours, for another purpose, or over.
        """
        try:
            data = base64.urlsafe_b64decode(ticket + "=" * (-len(ticket) % 4))
        except (binascii.Error, ValueError) as error:
            raise Problem(TICKET_INVALID) from error
        # Two texts may stand for the same bytes; only the one we make is ours.
        mac, content = data[:_MAC_BYTES], data[_MAC_BYTES:]
        good = [hmac.compare_digest(mac, _mac(one, purpose, content)) for one in self._secrets]
        if not any(good) or _text(data) != ticket:
            raise Problem(TICKET_INVALID)
        allowed, until = json.loads(content)
        if until <= time.time():
            raise Problem(TICKET_INVALID, "The link is no longer good.")
        return allowed, until


def _mac(secret: bytes, purpose: str, content: bytes) -> bytes:
    text = purpose.encode() + b"\0" + content
    return hmac.digest(secret, text, "sha256")[:_MAC_BYTES]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

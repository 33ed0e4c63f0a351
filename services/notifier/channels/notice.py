"""What a channel is handed, and how it says that it did not work."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.db import Row


@dataclass(frozen=True)
class Notice:
    """One try of telling one recipient about one event.

    Attributes:
        id: of the delivery; the same for all its tries.
        event_id: what receivers know a repeat by.
        recipient: the webhook's id, or the mail address.
        endpoint: what a slow send holds up.
        message: the event, as it was published.
        tries: the number of this try, from 1.
    """

    id: UUID
    workspace_id: UUID
    event_id: UUID
    job_id: UUID
    channel: str
    recipient: str
    endpoint: str
    message: dict[str, Any]
    tries: int

    @classmethod
    def from_row(cls, row: Row) -> "Notice":
        """The notice of a claimed delivery."""
        return cls(**dict(row))


class NotDelivered(Exception):
    """The notice was not delivered; the text says why, in a sentence for whoever owns the recipient."""


class TryAgain(NotDelivered):
    """It may work later; `after` is how many seconds the receiver asked to be left alone."""

    def __init__(self, reason: str, *, after: float = 0) -> None:
        super().__init__(reason)
        self.after = after


class GiveUp(NotDelivered):
    """It will never work."""


class RecipientGone(GiveUp):
    """The receiver wants no more notices, not even others."""

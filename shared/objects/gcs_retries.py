"""How long to bear with a bucket, and how to try again without making things worse."""

import asyncio
import random
import time
from dataclasses import dataclass

import aiohttp

from shared.errors import StorageUnavailable

RETRIED = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Patience:
    """How long to bear with a bucket, all in seconds.

    Attributes:
        without_progress: tries go on for so long after the last byte that got through.
        first_pause: before the second try; doubles with each further one, with jitter.
        longest_pause: the pauses grow no longer.
        connect: to open a connection.
        silence: without a byte from the bucket, within a request.
        request: for a whole small request, and for the head of a large one.
    """

    without_progress: float = 120
    first_pause: float = 0.25
    longest_pause: float = 16
    connect: float = 10
    silence: float = 60
    request: float = 30

    def timeout(self) -> aiohttp.ClientTimeout:
        """For requests with a large body: as long as it takes, while something moves."""
        return aiohttp.ClientTimeout(total=None, sock_connect=self.connect, sock_read=self.silence)


class Retries:
    """The pauses between tries, until nothing has moved for too long."""

    def __init__(self, patience: Patience, what: str) -> None:
        """Start the clock; `what` begins the sentence of the error."""
        self._patience = patience
        self._what = what
        self.progressed()

    def progressed(self) -> None:
        """Something got through: the patience is whole again."""
        self._since = time.monotonic()
        self._tries = 0

    async def pause(self, problem: str) -> None:
        """Wait before the next try; StorageUnavailable when there shall be none."""
        self._tries += 1
        ceiling = min(
            self._patience.longest_pause, self._patience.first_pause * 2 ** min(self._tries, 16)
        )
        pause = random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads load, hides nothing
        waited = time.monotonic() - self._since
        if waited + pause > self._patience.without_progress:
            raise StorageUnavailable(
                f"{self._what}: the bucket {problem} (try {self._tries}, {waited:.0f} s)."
            )
        await asyncio.sleep(pause)


def connection_problem(error: Exception) -> str:
    """What went wrong, without the URL: a session's URL is a secret."""
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    return f"broke the connection ({type(error).__name__})"

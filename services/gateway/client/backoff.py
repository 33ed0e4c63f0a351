"""How long to wait before trying again, and when to stop."""

import asyncio
import random

from services.gateway.client.failures import Failure

FIRST_SECONDS = 0.25
LONGEST_SECONDS = 10.0


class Backoff:
    """Counts the failures in a row and waits longer after each.

    The pauses double from 0.25 s to 10 s, each shortened by up to a half at random, so that the
    clients of a server that comes back do not all arrive at once.
    """

    def __init__(self, attempts: int) -> None:
        """Allow `attempts` tries in a row, the first included."""
        self._attempts = attempts
        self._failed = 0

    def reset(self) -> None:
        """It worked: what fails from now on is counted anew."""
        self._failed = 0

    def after(self, failure: Failure) -> float:
        """The seconds to wait after this failure; raises it if another try is no use or one too many."""
        self._failed += 1
        if not failure.passing or self._failed >= self._attempts:
            raise failure
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** (self._failed - 1))
        # Jitter needs no secrecy.
        return longest * random.uniform(0.5, 1)  # noqa: S311

    async def pause(self, failure: Failure) -> None:
        """Sleep as long as `after` says."""
        await asyncio.sleep(self.after(failure))

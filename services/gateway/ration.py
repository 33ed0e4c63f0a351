"""How many requests a key may send: a bucket for each, refilled all the time, told in every answer.

The buckets are this process's own: behind N gateways a key may send N times as much. They keep one
key from occupying a gateway; what a workspace may use in all is a quota, and another matter.
Headers as in draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
import time
from dataclasses import dataclass

from aiohttp import web

from services.gateway.problems import TOO_MANY_REQUESTS, Problem

# A bucket holds what flows in during this time: so much may come at once.
BURST_SECONDS = 10.0
MOST_BUCKETS = 10_000


@dataclass
class _Bucket:
    level: float
    filled_at: float


class Buckets:
    """A bucket for each caller."""

    def __init__(self, per_second: float) -> None:
        """Let each caller send so many requests a second; 0: as many as they like."""
        self._per_second = per_second
        self._size = max(per_second * BURST_SECONDS, 1.0)
        self._policy = f'"default";q={math.floor(self._size)};w={BURST_SECONDS:g}'
        self._buckets: dict[str, _Bucket] = {}

    def take(self, caller: str) -> dict[str, str]:
        """Take a request out of the caller's bucket; the headers that say what is left.

        Raises:
            Problem: it is empty.
        """
        if not self._per_second:
            return {}
        now = time.monotonic()
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._forget_full(now)
            bucket = self._buckets[caller] = _Bucket(self._size, now)
        bucket.level = self._level(bucket, now)
        bucket.filled_at = now
        if bucket.level < 1:
            wait = math.ceil((1 - bucket.level) / self._per_second)
            raise Problem(
                TOO_MANY_REQUESTS,
                f"More than {self._per_second:g} requests a second came from this key.",
                headers={**self._told(bucket), "Retry-After": str(wait)},
            )
        bucket.level -= 1
        return self._told(bucket)

    def _level(self, bucket: _Bucket, now: float) -> float:
        return min(self._size, bucket.level + (now - bucket.filled_at) * self._per_second)

    def _told(self, bucket: _Bucket) -> dict[str, str]:
        until_full = math.ceil((self._size - bucket.level) / self._per_second)
        left = f'"default";r={math.floor(bucket.level)};t={until_full}'
        return {"RateLimit-Policy": self._policy, "RateLimit": left}

    def _forget_full(self, now: float) -> None:
        """A full bucket is as good as none; too many others mean that somebody makes keys up."""
        if len(self._buckets) < MOST_BUCKETS:
            return
        full = [name for name, one in self._buckets.items() if self._level(one, now) >= self._size]
        for name in full:
            del self._buckets[name]


RATION = web.RequestKey("RATION", dict[str, str])
BUCKETS = web.AppKey("BUCKETS", Buckets)


def take_ration(request: web.Request, caller: str) -> None:
    """Count a request of a caller whose key was right; its answer says what is left.

    Raises:
        Problem: the caller has sent too many.
    """
    request[RATION] = request.app[BUCKETS].take(caller)

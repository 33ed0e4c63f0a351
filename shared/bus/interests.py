"""What a listener wants to hear just now: bindings that come and go while it listens."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from aio_pika.abc import AbstractQueue

from shared.bus.link import RPC_SECONDS

Binding = tuple[str, str]


class Interests:
    """Bindings (exchange and key), each held as long as somebody wants it.

    What nobody wants is not bound, so the broker sends nothing of it and a publisher is not slowed.
    """

    def __init__(
        self, on_bound: Callable[[frozenset[Binding]], None], always: Iterable[Binding] = ()
    ) -> None:
        """Start with what is wanted always.

        Args:
            on_bound: told which bindings hold from now on, after each (re)connection and each
                change: what was said before was not heard, so read the rows again.
            always: wanted for ever.
        """
        self._on_bound = on_bound
        self._wanted = Counter(always)
        self.changed = asyncio.Event()

    @contextmanager
    def want(self, *bindings: Binding) -> Iterator[None]:
        """Want these as long as the block runs."""
        self._count(bindings, 1)
        try:
            yield
        finally:
            self._count(bindings, -1)

    async def bring(self, queue: AbstractQueue, held: frozenset[Binding]) -> frozenset[Binding]:
        """Bring a queue that has the bindings `held` to what is wanted; what it has then."""
        self.changed.clear()
        wanted = frozenset(self._wanted)
        for exchange, key in sorted(wanted - held):
            async with asyncio.timeout(RPC_SECONDS):
                await queue.bind(exchange, key)
        for exchange, key in sorted(held - wanted):
            async with asyncio.timeout(RPC_SECONDS):
                await queue.unbind(exchange, key)
        if wanted - held:
            self._on_bound(wanted - held)
        return wanted

    def _count(self, bindings: Iterable[Binding], step: int) -> None:
        before = set(self._wanted)
        for binding in bindings:
            self._wanted[binding] += step
            if not self._wanted[binding]:
                del self._wanted[binding]
        if before != set(self._wanted):
            self.changed.set()

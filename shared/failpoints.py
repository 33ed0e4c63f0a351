"""Named places where a test may stop, slow or kill a service.

`POINTMILL_FAILPOINTS=name=kill` (or `raise`, `sleep:SECONDS`; `name=kill@3` acts at the third
passage) switches them on; unset, passing one costs a dictionary look-up. `FAILPOINTS` is the
register: a test fails when a place is not in it.
"""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass, field

import structlog

FAILPOINTS = frozenset(
    {
        "gateway.upload.receiving",  # between two pieces of a body
        "gateway.upload.stored",  # the object is complete, no row names it
        "gateway.upload.committed",  # rows are committed, the answer is not sent
        "gateway.outbox.published",  # confirmed by the broker, the rows are still there
        "processor.outbox.published",
        "processor.doorbell.received",  # a doorbell was delivered, nothing is claimed
        "processor.job.claimed",  # the claim is committed, the doorbell may not be acknowledged
        "processor.job.downloaded",  # the source is on disk, the child is not started
        "processor.job.running",  # the child works, and has just said how far it is
        "processor.job.computed",  # the child has ended well, no product is stored
        "processor.job.stored",  # products are in the store, the job is not finished
        "processor.batch.computed",  # the child of light jobs has ended, none of them is finished
        "processor.batch.finished",  # their end is committed
        "processor.job.finished",  # the end is committed
        "processor.schedule.ordered",  # a planned time has made its job, in a transaction still open
        "processor.schedule.committed",  # it is committed, and nobody has heard of it
        "notifier.event.received",  # an event was delivered, nothing is planned
        "notifier.event.planned",  # deliveries are committed, the message is not acknowledged
        "notifier.delivery.claimed",  # the try is committed, nothing is sent
        "notifier.delivery.sent",  # the receiver has it, the row does not say so
    }
)

logger = structlog.get_logger()


class FailpointHit(Exception):
    """Raised by `name=raise`."""


@dataclass
class Failpoints:
    """The failpoints that are switched on in this process."""

    actions: dict[str, str] = field(default_factory=dict)
    passages: Counter[str] = field(default_factory=Counter)

    @classmethod
    def from_environment(cls) -> "Failpoints":
        """Read `POINTMILL_FAILPOINTS`.

        Raises:
            ValueError: a name is not registered or an action is unknown.
        """
        actions = {}
        for entry in filter(None, os.environ.get("POINTMILL_FAILPOINTS", "").split(",")):
            name, _, action = entry.partition("=")
            if name not in FAILPOINTS:
                raise ValueError(f"{name} is not a failpoint.")
            if action.partition("@")[0].partition(":")[0] not in {"kill", "raise", "sleep"}:
                raise ValueError(
                    f"{entry}: the action is kill, raise or sleep:SECONDS, then maybe @N."
                )
            actions[name] = action
        return cls(actions)

    async def reach(self, name: str) -> None:
        """Pass the named place; do there what the environment asks for."""
        action = self.actions.get(name)
        if action is None:
            return
        what, _, turn = action.partition("@")
        self.passages[name] += 1
        if turn and self.passages[name] != int(turn):
            return
        logger.warning("failpoint_acts", failpoint=name, action=what)
        verb, _, seconds = what.partition(":")
        if verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "raise":
            raise FailpointHit(name)
        await asyncio.sleep(float(seconds))

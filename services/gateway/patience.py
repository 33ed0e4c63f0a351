"""`Prefer: wait=N` (RFC 7240): a reader would rather wait for a job's end than ask again."""

import re
import time
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from services.gateway.caller import Caller
from services.gateway.live import POLL_SECONDS
from services.gateway.resources import Gateway
from shared.db import Row
from shared.jobs import ENDS

LONGEST_WAIT = 30
WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)
Prefer = Annotated[
    str,
    StringConstraints(max_length=200),
    Field(
        description=f"`wait=N`: answer when the job has ended, or after N seconds, {LONGEST_WAIT} at most."
        " Other preferences are ignored.",
        examples=["wait=1"],
    ),
]


def seconds_of(prefer: str | None) -> int:
    """For how long a reader would wait; 0 when nothing is said of it."""
    found = WAIT.search(prefer or "")
    return min(int(found[1]), LONGEST_WAIT) if found else 0


async def wait_for_end(gateway: Gateway, caller: Caller, row: Row, seconds: float) -> Row:
    """The job's row when it has ended, or as it is after so many seconds or when we are told to stop.

    Woken by what the bus says of the job; without the bus it looks every two seconds.
    """
    until = time.monotonic() + seconds
    job: UUID = row["id"]
    with gateway.live.listener(caller.workspace, job) as listener:
        while True:
            row = await gateway.database.row("read_job", caller.workspace, job) or row
            left = until - time.monotonic()
            if row["state"] in ENDS or left <= 0 or gateway.live.closed:
                return row
            await listener.wait(min(left, POLL_SECONDS))

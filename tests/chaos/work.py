"""The work that goes on while things break: files that can be milled and one that cannot, and drills."""

import asyncio
from typing import Any

from tests.chaos.client import Client
from tests.fixtures import honest

POINTS = 1000
SUCCEEDS = {"state": "succeeded"}
MILLED = {"state": "succeeded", "result": {"points": POINTS}}
REFUSED = {"state": "failed", "error": {"code": "drill_refused"}}
CANCELLED = {"state": "cancelled"}
ORPHANED = {"state": "failed", "error": {"code": "parent_failed"}}
GATHERED = {"state": "succeeded", "result": {"inputs": ["left", "right"], "bytes": 7}}
NOISE = b"PK no point cloud at all" * 100
UNREADABLE = {"state": "failed", "error": {"code": "not_a_las_file"}}


def slept(seconds: float) -> dict[str, Any]:
    """How a drill that sleeps so long must end."""
    return {"state": "succeeded", "result": {"slept": seconds}}


async def do_work(client: Client, cloud: str | None = None) -> None:
    """Order one of everything, the long drill first; returns when all of it was accepted."""
    # Before anything breaks: an empty cloud made twice would be told by nobody.
    cloud = cloud or await client.make_cloud("town")
    await client.order("demo.sleep", slept(1.5), seconds=1.5)
    doomed = await client.order("demo.sleep", CANCELLED, seconds=600, ending="well")
    await asyncio.gather(
        _order_pipeline(client, doomed),
        client.fill(cloud, "town.las", honest.las(3, POINTS), MILLED),
        client.upload("village.laz", honest.laz(7, POINTS), MILLED),
        client.upload("noise.laz", NOISE, UNREADABLE),
        client.order("demo.print", SUCCEEDS, first="one", second="two"),
        client.order("demo.sleep", REFUSED, seconds=0.1, ending="refuse"),
        client.cancel(doomed),
        client.schedule("demo.print", SUCCEEDS, seconds=1.5, first="on", second="time"),
    )


async def _order_pipeline(client: Client, doomed: str) -> None:
    """One job, two that take what it makes, one that takes what those make; and one that waits in vain."""
    root = await client.order("demo.gather", SUCCEEDS, text="1")
    left = await client.order("demo.gather", SUCCEEDS, gathers={"root": root}, text="22")
    right = await client.order("demo.gather", SUCCEEDS, gathers={"root": root}, text="33")
    await client.order("demo.gather", GATHERED, gathers={"left": left, "right": right}, text="=")
    await client.order("demo.print", ORPHANED, after=[root, doomed])

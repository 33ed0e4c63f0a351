"""Say that this process lives, in which version, and which message versions it accepts.

An operator sees in one look whether an old version of a message can go: nobody running accepts only
that. Each service's SQL stands in its own queries file: `register_instance`, `forget_instance`.
"""

import asyncio
from collections.abc import Sequence

import structlog

from shared.db import Database
from shared.errors import DatabaseUnavailable
from shared.process import service_version

BEAT_SECONDS = 10.0

logger = structlog.get_logger()


async def stay_registered(database: Database, instance: str, accepts: Sequence[str]) -> None:
    """Say it every ten seconds, for ever; when cancelled, say that the process leaves."""
    try:
        while True:
            try:
                await database.value(
                    "register_instance", instance, service_version(), list(accepts)
                )
            except DatabaseUnavailable as error:
                logger.warning("presence_waits", detail=error.detail)
            await asyncio.sleep(BEAT_SECONDS)
    except asyncio.CancelledError:
        try:
            await database.value("forget_instance", instance)
        except DatabaseUnavailable as error:
            logger.warning("leave_not_stored", detail=error.detail)
        raise

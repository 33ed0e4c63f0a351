"""Open what the notifier needs, run its loops until told to stop, close."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from services.notifier.channels.egress import open_session
from services.notifier.metrics import open_metrics
from services.notifier.notices import ACCEPTS, hear, hear_again, reconcile
from services.notifier.resources import Notifier
from services.notifier.sender import Sender
from services.notifier.settings import Settings
from shared import topology
from shared.bus import Bus
from shared.db import open_database
from shared.failpoints import Failpoints
from shared.health import Health, serve_health
from shared.presence import stay_registered
from shared.process import Supervisor, instance_name, service_version
from shared.replays import replay

PREFETCH = 50


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        OSError: the port for health is taken.
        BackgroundTaskEnded: something that must run has ended.
    """
    async with open_notifier(settings) as notifier:
        health = Health({"database": notifier.database.check, "broker": notifier.bus.check})
        runner = await serve_health(health, settings.host, settings.port)
        supervisor = Supervisor()
        try:
            _start(supervisor, notifier)
            await supervisor.run_until_stopped()
        finally:
            health.draining = True
            await supervisor.stop()
            await runner.cleanup()


def _start(supervisor: Supervisor, notifier: Notifier) -> None:
    for name, loop in notifier.bus.loops().items():
        supervisor.start(name, loop)
    supervisor.start(
        "events",
        notifier.bus.consumer.consume(
            topology.NOTIFIER_EVENTS, partial(hear, notifier), prefetch=PREFETCH
        ),
    )
    supervisor.start("sender", Sender(notifier).run())
    supervisor.start("reconciler", reconcile(notifier))
    supervisor.start("presence", stay_registered(notifier.database, notifier.instance, ACCEPTS))
    supervisor.start("replays", replay(notifier.database, partial(hear_again, notifier)))


@asynccontextmanager
async def open_notifier(settings: Settings) -> AsyncIterator[Notifier]:
    """The notifier's resources; closed at the end, the last opened first."""
    async with AsyncExitStack() as stack:
        database = await open_database(settings.database_url.get_secret_value(), "notifier")
        stack.push_async_callback(database.close)
        web = await stack.enter_async_context(
            open_session(allow_private=settings.allow_private_webhooks)
        )
        instance = instance_name("notifier")
        bus = Bus(
            settings.amqp_url.get_secret_value(),
            service="notifier",
            instance=instance,
            version=service_version(),
            # It publishes nothing yet, but what it may publish to must be there.
            exchanges=(topology.EVENTS,),
        )
        stack.push_async_callback(bus.close)
        yield Notifier(
            settings, instance, database, bus, web, open_metrics(), Failpoints.from_environment()
        )

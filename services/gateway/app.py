"""The gateway as a whole: open its parts, list its routes, serve until it is told to stop."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from services.gateway.api import mount
from services.gateway.archives import Archives
from services.gateway.edge import TRAFFIC, new_application
from services.gateway.keys import Keys
from services.gateway.known_kinds import Kinds
from services.gateway.live import ACCEPTS, Live
from services.gateway.metrics import open_metrics
from services.gateway.oidc import Provider
from services.gateway.people import People
from services.gateway.resources import GATEWAY, Gateway
from services.gateway.routes import (
    clouds,
    dead_letters,
    events,
    files,
    instances,
    job_batches,
    jobs,
    keys,
    kinds,
    members,
    products,
    projects,
    schedules,
    sessions,
    signed,
    upload_sessions,
    webhooks,
    workspaces,
)
from services.gateway.routes.docs import mount_docs
from services.gateway.routes.health import mount_health
from services.gateway.routes.live import routes as live_routes
from services.gateway.settings import Settings
from services.gateway.signing import Signer
from shared import topology
from shared.bus import Bus
from shared.db import Database, open_database
from shared.errors import Unavailable
from shared.failpoints import Failpoints
from shared.health import Check, Health
from shared.objects import open_store
from shared.outbox import Relay
from shared.presence import stay_registered
from shared.process import Supervisor, instance_name, service_version

# The oldest schema this code works on.
SCHEMA = "0036"
ROUTES = (
    projects.routes,
    clouds.routes,
    files.routes,
    upload_sessions.routes,
    jobs.routes,
    job_batches.routes,
    events.routes,
    live_routes,
    schedules.routes,
    kinds.routes,
    products.routes,
    signed.routes,
    webhooks.routes,
    instances.routes,
    dead_letters.routes,
    workspaces.routes,
    keys.routes,
    members.routes,
    sessions.routes,
)

logger = structlog.get_logger("gateway")


@asynccontextmanager
async def open_gateway(settings: Settings, supervisor: Supervisor) -> AsyncIterator[Gateway]:
    """The parts, each closed in the end; their loops run under the supervisor."""
    async with AsyncExitStack() as stack:
        database = await open_database(
            settings.database_url.get_secret_value(), "gateway", size=settings.database_connections
        )
        stack.push_async_callback(database.close)
        store = await open_store(settings.storage_url)
        stack.push_async_callback(store.close)
        instance = instance_name("gateway")
        bus = Bus(
            settings.amqp_url.get_secret_value(),
            service="gateway",
            instance=instance,
            version=service_version(),
            exchanges=(topology.EVENTS, topology.WORK, topology.CONTROL),
        )
        stack.push_async_callback(bus.close)
        metrics, live, failpoints = open_metrics(), Live(database), Failpoints.from_environment()
        api_keys = Keys(database)
        relay = Relay(database, bus.publisher, failpoints, "gateway", metrics.relayed)
        stack.push_async_callback(supervisor.stop)
        for name, loop in bus.loops().items():
            supervisor.start(name, loop)
        supervisor.start("relay", relay.run())
        supervisor.start("live", live.run(bus))
        provider = None
        if settings.oidc_issuer is not None:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            provider = Provider(http, settings.oidc_issuer)
        supervisor.start("key_uses", api_keys.keep_noting())
        supervisor.start("presence", stay_registered(database, instance, ACCEPTS))
        yield Gateway(
            settings=settings,
            database=database,
            store=store,
            bus=bus,
            live=live,
            keys=api_keys,
            people=People(database, provider, settings.oidc_audience),
            kinds=Kinds(database),
            archives=Archives(store),
            signer=Signer(settings.signing_secrets),
            metrics=metrics,
            failpoints=failpoints,
            wake_relay=relay.wake,
        )


def checks(gateway: Gateway) -> Mapping[str, Check]:
    """What must hold before the gateway takes requests."""
    return {
        "database": gateway.database.check,
        "schema": lambda: _check_schema(gateway.database),
        "broker": gateway.bus.check,
        "storage": gateway.store.check,
    }


async def _check_schema(database: Database) -> None:
    version = await database.check()
    if version < SCHEMA:
        raise Unavailable(f"The schema is {version}; this gateway needs {SCHEMA} or later.")


def create_app(gateway: Gateway, health: Health) -> web.Application:
    """The application with every route."""
    app = new_application(
        gateway.metrics,
        upload_bytes=gateway.settings.max_upload_bytes,
        upload_idle_seconds=gateway.settings.upload_idle_seconds,
        requests_per_second=gateway.settings.requests_per_second,
        origins=gateway.settings.cors_origins,
    )
    app[GATEWAY] = gateway
    mounted = mount(app, *ROUTES)
    mount_docs(app, mounted, service_version())
    mount_health(app, health, gateway.metrics)
    return app


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then let the requests in hand end."""
    supervisor = Supervisor()
    async with open_gateway(settings, supervisor) as gateway:
        health = Health(checks(gateway))
        app = create_app(gateway, health)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_protocol_logger(),
            # A compressed body is refused, so nothing may unpack it before that.
            auto_decompress=False,
            keepalive_timeout=75,
            shutdown_timeout=1,
        )
        await runner.setup()
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
            logger.info("listening", addresses=[str(address) for address in runner.addresses])
            await supervisor.run_until_stopped()
        finally:
            health.draining = True
            gateway.live.close()
            await site.stop()
            await app[TRAFFIC].drain(settings.shutdown_seconds)
            await runner.cleanup()


def _protocol_logger() -> logging.Logger:
    """The log of aiohttp itself, without a traceback for every client that does not speak HTTP."""
    protocol = logging.getLogger("gateway.protocol")
    protocol.addFilter(_is_ours)
    return protocol


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)

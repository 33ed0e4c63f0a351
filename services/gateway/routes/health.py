"""What operators ask: alive, ready, measured. No key is needed; a proxy in front hides them."""

import prometheus_client
from aiohttp import web

from services.gateway.metrics import Metrics
from shared.health import Health, livez, readyz


def mount_health(app: web.Application, health: Health, metrics: Metrics) -> None:
    """Serve /livez, /readyz and /metrics."""

    async def ready(_request: web.Request) -> web.Response:
        return await readyz(health)

    async def measured(_request: web.Request) -> web.Response:
        body = prometheus_client.generate_latest(metrics.registry)
        process = prometheus_client.generate_latest()
        headers = {"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        return web.Response(body=body + process, headers=headers)

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", measured)

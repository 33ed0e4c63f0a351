"""Instances: which services run, in which version, and what each understands. For operators."""

from services.gateway.api import Routes
from services.gateway.caller import Operator
from services.gateway.models.instances import Instance, Instances
from services.gateway.resources import Gateway

routes = Routes("instances")


@routes.get("/v1/instances")
async def list_instances(gateway: Gateway, operator: Operator) -> Instances:  # noqa: ARG001 - asked for a right
    """List the running processes of every service, with the message versions each accepts."""
    rows = await gateway.database.rows("list_instances")
    return Instances(items=[Instance.of(row) for row in rows])

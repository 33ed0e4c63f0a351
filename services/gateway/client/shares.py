"""`pointmill kind`, `workspaces` and `workspace`, for operators; each returns the exit status."""

from typing import Any
from urllib.parse import quote

from rich.text import Text

from services.gateway.client.api import Document
from services.gateway.client.calls import Call
from services.gateway.client.display import table_of
from services.gateway.client.wording import plain


async def kind(call: Call) -> int:
    """`pointmill kind KIND …`: pause, resume or limit it."""
    change: dict[str, Any] = {}
    if call.options.paused is not None:
        change["paused"] = call.options.paused
    if call.options.starts is not None:
        change["starts_per_minute"] = call.options.starts or None
    async with call.server() as api:
        path = f"/v1/kinds/{quote(call.options.kind, safe='')}"
        found = await api.ask("PATCH", path, json=change)
    if call.options.json:
        call.print_json(found)
        return 0
    starts = found["starts_per_minute"]
    limit = f"at most {starts} starts a minute" if starts else "no limit of starts"
    state = "paused" if found["paused_at"] else "not paused"
    call.out.print(Text(f"{plain(found['kind'])}: {state}, {limit}."))
    return 0


async def workspaces(call: Call) -> int:
    """`pointmill workspaces`: list them with their shares."""
    async with call.server() as api:
        found = [one async for one in api.pages("/v1/workspaces", {}, call.options.limit)]
    call.print_json(found) if call.options.json else _show(call, found)
    return 0


async def workspace(call: Call) -> int:
    """`pointmill workspace ID …`: set its weight or cap."""
    change: dict[str, Any] = {}
    if call.options.weight is not None:
        change["weight"] = call.options.weight
    if call.options.max_running is not None:
        cap = call.options.max_running
        change["max_running"] = None if cap < 0 else cap
    async with call.server() as api:
        path = f"/v1/workspaces/{quote(call.options.id, safe='')}"
        found = await api.ask("PATCH", path, json=change)
    call.print_json(found) if call.options.json else _show(call, [found])
    return 0


def _show(call: Call, found: list[Document]) -> None:
    table = table_of("Workspace", "Id", "Weight", "Running", "At most", right=["Weight", "Running"])
    for one in found:
        cap = "" if one["max_running"] is None else str(one["max_running"])
        table.add_row(
            Text(plain(one["name"])), one["id"], str(one["weight"]), str(one["running"]), cap
        )
    call.out.print(table)

"""`pointmill instances`, for operators; returns the exit status."""

from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from services.gateway.client.api import Document
from services.gateway.client.calls import Call
from services.gateway.client.display import table_of
from services.gateway.client.wording import age, plain


async def instances(call: Call) -> int:
    """`pointmill instances`: list them with the message versions they accept."""
    async with call.server() as api:
        found = list((await api.ask("GET", "/v1/instances")).get("items", []))
    call.print_json(found) if call.options.json else _show(call.out, found)
    return 0


def _show(console: Console, found: list[Document]) -> None:
    if not found:
        console.print("No service has said that it runs.")
        return
    now = datetime.now(UTC)
    table = table_of("Instance", "Version", "Seen", "Accepts", "Kinds")
    for one in found:
        table.add_row(
            Text(plain(one["instance"])),
            Text(plain(one["version"])),
            Text(age(one["seen_at"], now)),
            Text(plain(" ".join(name.removeprefix("pointmill.") for name in one["accepts"]))),
            Text(plain(" ".join(one["kinds"]))),
        )
    console.print(table)

"""`pointmill dead-letters …`, for operators; each action returns the exit status."""

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from services.gateway.client.api import Document, Pointmill
from services.gateway.client.calls import Call
from services.gateway.client.display import table_of
from services.gateway.client.failures import Failure
from services.gateway.client.wording import age, plain

PATH = "/v1/dead-letters"
FILTERS = ("state", "queue", "reason", "sender")
LARGEST_MESSAGE = 1 << 20


async def dead_letters(call: Call) -> int:
    """`pointmill dead-letters [ACTION]`: without an action, list the open ones."""
    async with call.server() as api:
        return await ACTIONS[call.options.action or "list"](call, api)


async def _list(call: Call, api: Pointmill) -> int:
    given = {name: getattr(call.options, name, None) for name in FILTERS}
    filters = {name: value for name, value in given.items() if value is not None}
    if not filters:
        filters = {"state": "open"}
    elif filters.get("state") == "all":
        del filters["state"]
    limit = getattr(call.options, "limit", 20)
    found = [item async for item in api.pages(PATH, filters, limit)]
    call.print_json(found) if call.options.json else _show_all(call.out, found)
    return 0


async def _show(call: Call, api: Pointmill) -> int:
    return _print(call, await api.ask("GET", _path(call)))


async def _mend(call: Call, api: Pointmill) -> int:
    message = _read_message(call.options.file)
    return _print(call, await api.ask("POST", f"{_path(call)}/mend", json={"message": message}))


async def _replay(call: Call, api: Pointmill) -> int:
    return _print(call, await api.ask("POST", f"{_path(call)}/replay"))


async def _discard(call: Call, api: Pointmill) -> int:
    order = {"reason": call.options.why}
    return _print(call, await api.ask("POST", f"{_path(call)}/discard", json=order))


ACTIONS: Mapping[str, Callable[[Call, Pointmill], Awaitable[int]]] = {
    "list": _list,
    "show": _show,
    "mend": _mend,
    "replay": _replay,
    "discard": _discard,
}


def _path(call: Call) -> str:
    return f"{PATH}/{quote(call.options.id, safe='')}"


def _read_message(name: str) -> object:
    """The JSON in a file, or in the input for `-`."""
    try:
        if name == "-":
            text = sys.stdin.read(LARGEST_MESSAGE)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(LARGEST_MESSAGE)
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise Failure(
            "unreadable_message",
            "The message cannot be read",
            f"{name} holds no JSON message: {error}",
            "Name a file with one CloudEvent in JSON.",
        ) from error


def _print(call: Call, letter: Document) -> int:
    if call.options.json:
        call.print_json(letter)
    else:
        _show_one(call.out, letter)
    return 0


def _show_all(console: Console, letters: list[Document]) -> None:
    if not letters:
        console.print("No dead letters.")
        return
    now = datetime.now(UTC)
    table = table_of("Letter", "State", "Reason", "Sender", "Queue", "Seen", "Age", right=["Seen"])
    for letter in letters:
        table.add_row(
            Text(letter["id"]),
            Text(plain(letter["state"])),
            Text(plain(letter["reason"])),
            Text(plain(letter["sender"] or "-")),
            Text(plain(letter["queue"])),
            Text(str(letter["seen"])),
            Text(age(letter["last_seen_at"], now)),
        )
    console.print(table)


def _show_one(console: Console, letter: Document) -> None:
    names = ("id", "state", "reason", "detail", "sender", "queue", "exchange", "routing_key")
    for name in (*names, "owner", "seen", "first_seen_at", "last_seen_at", "outcome"):
        if letter[name] is not None:
            console.print(Text(f"{name:14} {plain(str(letter[name]))}"), soft_wrap=True)
    for act in letter["acts"]:
        line = f"{act['at']} {act['act']} by {act['by']} {act['note']}".rstrip()
        console.print(Text(f"{'done':14} {plain(line)}"), soft_wrap=True)
    for name in ("body", "mended"):
        if body := letter[name]:
            whole = "" if body["whole"] else ", only its beginning"
            console.print(Text(f"\n{name} ({body['form']}, {body['size']} bytes{whole})"))
            for line in body["text"].splitlines():
                console.print(Text(plain(line)), soft_wrap=True)

"""`pointmill schedules …`: jobs ordered by the clock; each action returns the exit status."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.gateway.client.api import Document, Pointmill
from services.gateway.client.calls import Call
from services.gateway.client.display import show_jobs, table_of
from services.gateway.client.failures import Failure
from services.gateway.client.wording import age, error_sentence, moment, plain, short

PATH = "/v1/schedules"
# What the command line calls as the API does.
TIMES = ("at", "cron", "timezone")
SETTINGS = ("name", "priority", "overlap", "missed")


async def schedules(call: Call) -> int:
    """`pointmill schedules [ACTION]`: without an action, list them."""
    async with call.server() as api:
        return await ACTIONS[call.options.action or "list"](call, api)


async def _list(call: Call, api: Pointmill) -> int:
    limit = getattr(call.options, "limit", None)
    found = [item async for item in api.pages(PATH, {}, limit)]
    call.print_json(found) if call.options.json else _show_all(call.out, found)
    return 0


async def _add(call: Call, api: Pointmill) -> int:
    order = {"kind": call.options.kind, "params": dict(call.options.params)}
    more = _given(call, (*TIMES, *SETTINGS, "cloud"))
    # Not asked again: a repeat after a lost answer would only hear that the name is taken.
    return _print(call, await api.ask("POST", PATH, json={**order, **more}, attempts=1))


async def _show(call: Call, api: Pointmill) -> int:
    return _print(call, await _find(call, api))


async def _change(call: Call, api: Pointmill) -> int:
    change = _given(call, (*TIMES, *SETTINGS))
    if call.options.params:
        change["params"] = dict(call.options.params)
    found = await _find(call, api)
    return _print(call, await api.ask("PATCH", _path(found), json=change))


async def _pause(call: Call, api: Pointmill) -> int:
    return _print(call, await api.ask("POST", f"{_path(await _find(call, api))}/pause"))


async def _resume(call: Call, api: Pointmill) -> int:
    return _print(call, await api.ask("POST", f"{_path(await _find(call, api))}/resume"))


async def _delete(call: Call, api: Pointmill) -> int:
    found = await _find(call, api)
    await api.ask("DELETE", _path(found), attempts=1)
    if call.options.json:
        call.print_json(found)
    else:
        call.out.print(f"Schedule {plain(found['name'])} is deleted; its jobs stay.")
    return 0


async def _jobs(call: Call, api: Pointmill) -> int:
    path = f"{_path(await _find(call, api))}/jobs"
    found = [item async for item in api.pages(path, {}, call.options.limit)]
    call.print_json(found) if call.options.json else show_jobs(call.out, found)
    return 0


async def _preview(call: Call, api: Pointmill) -> int:
    if call.options.schedule is None:
        told = await api.ask("POST", f"{PATH}/preview", json=_given(call, TIMES))
    else:
        told = await api.ask("GET", f"{_path(await _find(call, api))}/preview")
    if call.options.json:
        call.print_json(told)
    else:
        for time in told["times"] or ["Nothing comes."]:
            call.out.print(_as_told(time))
    return 0


ACTIONS: Mapping[str, Callable[[Call, Pointmill], Awaitable[int]]] = {
    "list": _list,
    "add": _add,
    "show": _show,
    "change": _change,
    "pause": _pause,
    "resume": _resume,
    "delete": _delete,
    "jobs": _jobs,
    "preview": _preview,
}


def _given(call: Call, names: Sequence[str]) -> Document:
    return {name: value for name in names if (value := getattr(call.options, name)) is not None}


def _path(schedule: Document) -> str:
    return f"{PATH}/{quote(schedule['id'], safe='')}"


async def _find(call: Call, api: Pointmill) -> Document:
    """The schedule of this id or name."""
    wanted: str = call.options.schedule
    try:
        return await api.ask("GET", f"{PATH}/{UUID(wanted)}")
    except ValueError:
        async for schedule in api.pages(PATH, {}):
            if schedule["name"] == wanted:
                return schedule
    raise Failure(
        "schedule_not_found",
        "There is no such schedule",
        f"{wanted} is the name of no schedule.",
        "List them with `pointmill schedules`.",
    )


def _print(call: Call, schedule: Document) -> int:
    call.print_json(schedule) if call.options.json else _show_one(call.out, schedule)
    return 0


def _show_all(console: Console, schedules: Sequence[Document]) -> None:
    if not schedules:
        console.print("No schedules.")
        return
    table = table_of("Schedule", "Name", "Kind", "When", "Next")
    for one in schedules:
        table.add_row(
            one["id"], plain(one["name"]), plain(one["kind"]), _when(one), _next(one) or "never"
        )
    console.print(table)


def _show_one(console: Console, schedule: Document) -> None:
    console.print(Text.assemble((plain(schedule["name"]), "bold"), f"  {plain(schedule['kind'])}"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    error = schedule.get("last_error")
    for label, value in (
        ("schedule", schedule["id"]),
        ("when", _when(schedule)),
        ("next", _next(schedule) or "never"),
        ("overlap", schedule["overlap"]),
        ("missed", schedule["missed"]),
        ("cloud", schedule.get("cloud")),
        ("params", short(schedule["params"]) if schedule["params"] else None),
        ("last", _last(schedule)),
        ("last job", schedule.get("last_job")),
        ("error", error_sentence(error) if error else None),
    ):
        if value is not None:
            grid.add_row(label, Text(plain(value)))
    console.print(grid)


def _when(schedule: Document) -> str:
    if schedule.get("cron"):
        return plain(f"{schedule['cron']} ({schedule['timezone']})")
    return f"once, {_local(schedule['at'])}"


def _next(schedule: Document) -> str | None:
    if schedule.get("paused_at"):
        return "paused"
    if schedule.get("waiting_since"):
        return "when the job before has ended"
    return _local(schedule["next_at"]) if schedule.get("next_at") else None


def _last(schedule: Document) -> str | None:
    if not schedule.get("last_at"):
        return None
    return f"{plain(schedule['last_outcome'])}, {age(schedule['last_at'], datetime.now(UTC))} ago"


def _local(text: str) -> str:
    """A time of the API as the clock shows it here."""
    time = moment(text)
    return "" if time is None else f"{time.astimezone():%a %Y-%m-%d %H:%M %Z}"


def _as_told(text: str) -> str:
    """A time of the API as the clock shows it in the zone that it came in."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return plain(text)
    return f"{time:%a %Y-%m-%d %H:%M} {time.isoformat()[-6:]}"

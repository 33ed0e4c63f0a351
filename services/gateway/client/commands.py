"""The commands that ask for one thing and print it; each returns the exit status."""

from rich.text import Text

from services.gateway.client.api import ENDED, Document, Pointmill
from services.gateway.client.batches import change_jobs
from services.gateway.client.calls import Call, wait_for_end
from services.gateway.client.display import (
    show_clouds,
    show_job,
    show_jobs,
    show_kinds,
    show_products,
    show_projects,
)
from services.gateway.client.pipeline import pipeline_of
from services.gateway.client.wording import error_sentence


async def jobs(call: Call) -> int:
    """`pointmill jobs`: list them."""
    filters = {
        name: value
        for name in ("state", "kind", "cloud")
        if (value := getattr(call.options, name)) is not None
    }
    found = await _listed(call, "/v1/jobs", filters)
    call.print_json(found) if call.options.json else show_jobs(call.out, found)
    return 0


async def projects(call: Call) -> int:
    """`pointmill projects`: list them."""
    found = await _listed(call, "/v1/projects", {})
    call.print_json(found) if call.options.json else show_projects(call.out, found)
    return 0


async def clouds(call: Call) -> int:
    """`pointmill clouds`: list them."""
    filters = {"project": call.options.project} if call.options.project else {}
    found = await _listed(call, "/v1/clouds", filters)
    call.print_json(found) if call.options.json else show_clouds(call.out, found)
    return 0


async def _listed(call: Call, path: str, filters: dict[str, str]) -> list[Document]:
    async with call.server() as api:
        return [item async for item in api.pages(path, filters, call.options.limit)]


async def kinds(call: Call) -> int:
    """`pointmill kinds`: list them with their parameters."""
    async with call.server() as api:
        found = await api.kinds()
    call.print_json(found) if call.options.json else show_kinds(call.out, found)
    return 0


async def products(call: Call) -> int:
    """`pointmill products CLOUD`: list them."""
    async with call.server() as api:
        found = await api.products(call.options.cloud)
    if call.options.json:
        call.print_json(found)
    else:
        show_products(call.out, call.options.cloud, found)
    return 0


async def job(call: Call) -> int:
    """`pointmill job ID`: show it; with `--wait` show how it ends."""
    async with call.server() as api:
        return await _show_or_wait(call, api, await api.job(call.options.id))


async def retry(call: Call) -> int:
    """`pointmill retry`: order it, or all that are meant, once more."""
    if call.options.id is None:
        return await change_jobs(call, "retry", "Ordered again")
    async with call.server() as api:
        return await _show_or_wait(call, api, await api.retry_job(call.options.id))


async def run(call: Call) -> int:
    """`pointmill run KIND key=value…`: order a job."""
    options = call.options
    more = {
        "cloud": options.cloud,
        "priority": options.priority,
        "unique_key": options.unique,
    }
    given = {name: value for name, value in more.items() if value is not None}
    async with call.server() as api:
        made = await api.create_job(
            options.kind, dict(options.params), **given, **pipeline_of(options)
        )
        return await _show_or_wait(call, api, made)


async def cancel(call: Call) -> int:
    """`pointmill cancel`: ask for its end, or that of all that are meant."""
    if call.options.id is None:
        return await change_jobs(call, "cancel", "Cancelled")
    async with call.server() as api:
        asked = await api.cancel_job(call.options.id)
    if call.options.json:
        call.print_json(asked)
    elif asked["state"] in ENDED:
        call.out.print(f"Job {asked['id']} is {asked['state']}.")
    else:
        call.out.print(f"Job {asked['id']} is {asked['state']} and was asked to stop.")
    return 0


async def _show_or_wait(call: Call, api: Pointmill, found: Document) -> int:
    """Print a job as it is, or as it ended if that is waited for."""
    if call.options.wait:
        found = await wait_for_end(call, api, found)
    if call.options.json:
        call.print_json(found)
    else:
        show_job(call.out, found)
    if not call.options.wait:
        if not call.options.json and found["state"] not in ENDED:
            hint = f"pointmill job {found['id']} --wait"
            call.out.print(Text.assemble(("\nFollow it: ", "dim"), hint), soft_wrap=True)
        return 0
    if found["state"] == "succeeded":
        return 0
    if found.get("error"):
        call.complain(error_sentence(found["error"]))
    return 1

"""Commands for many jobs at once: asked for batch by batch until none is left."""

from services.gateway.client.arguments import named
from services.gateway.client.calls import Call


async def change_jobs(call: Call, what: str, told: str) -> int:
    """Cancel or retry all jobs that the options mean; the exit status.

    The end of the time that is meant is fixed by the first answer: a new job that fails meanwhile
    is not retried as well.
    """
    wanted = named(call.options)
    done = 0
    async with call.server() as api:
        while True:
            answer = await api.change_jobs(what, wanted)
            done += answer["done"]
            wanted.setdefault("created_before", answer["as_of"])
            # Nothing done: what is left has changed in between, and is no longer meant.
            if not answer["left"] or not answer["done"]:
                break
    if call.options.json:
        call.print_json({"done": done})
    else:
        call.out.print(f"{told}: {done} {'job' if done == 1 else 'jobs'}.")
    return 0

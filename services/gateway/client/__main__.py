"""The `pointmill` command: reads the command line, runs one command, turns its end into a status."""

import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

from services.gateway.client import commands, shares
from services.gateway.client.arguments import read_arguments
from services.gateway.client.calls import Call
from services.gateway.client.checking import check
from services.gateway.client.dead_letters import dead_letters
from services.gateway.client.failures import Failure
from services.gateway.client.getting import get
from services.gateway.client.instances import instances
from services.gateway.client.schedules import schedules
from services.gateway.client.uploading import upload
from services.gateway.client.wording import plain

FAILED = 1
INTERRUPTED = 130

COMMANDS: Mapping[str, Callable[[Call], Awaitable[int]]] = {
    "check": check,
    "upload": upload,
    "get": get,
    "products": commands.products,
    "jobs": commands.jobs,
    "job": commands.job,
    "cancel": commands.cancel,
    "retry": commands.retry,
    "run": commands.run,
    "kinds": commands.kinds,
    "projects": commands.projects,
    "clouds": commands.clouds,
    "dead-letters": dead_letters,
    "instances": instances,
    "kind": shares.kind,
    "workspaces": shares.workspaces,
    "workspace": shares.workspace,
    "schedules": schedules,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of these arguments (those of the process by default); the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a sign shows a question mark; it is no reason to fail.
            stream.reconfigure(errors="replace")
    call = Call(read_arguments(arguments), os.environ)
    try:
        status = asyncio.run(_run(call))
        sys.stdout.flush()
    except Failure as failure:
        call.tell_failure(failure)
        return FAILED
    except KeyboardInterrupt:
        call.complain("interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`); Python must not complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        # A bug of ours or an answer unlike any other: no reason to show anybody a traceback.
        call.complain(f"the command failed: {type(error).__name__}: {plain(error)}")
        return FAILED
    return status


async def _run(call: Call) -> int:
    return await COMMANDS[call.options.command](call)


if __name__ == "__main__":
    sys.exit(main())

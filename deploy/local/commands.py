"""What `python -m deploy.local` can be asked to do."""

import argparse
import os
import sys
import time
from pathlib import Path

from deploy.local import demo
from deploy.local.errors import StackError
from deploy.local.folder import CHECKOUT, Folder, for_people
from deploy.local.interrupts import Interrupts
from deploy.local.stack import Stack


def _up(stack: Stack) -> None:
    began = time.monotonic()
    stack.up()
    started = ", ".join(stack.started) if stack.started else "nothing, it was up"
    print(f"Started: {started} ({time.monotonic() - began:.1f} s)")
    print(f"Up at {stack.url}; for a shell: source {for_people(stack.env_file)}")


def _down(stack: Stack) -> None:
    stopped = stack.down()
    print(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing was running.")


def _status(stack: Stack) -> int:
    rows = stack.status()
    for row in rows:
        print(f"{row.part:<14} {row.state:<10} {row.pid or '':<8} {row.url}".rstrip())
    return 0 if all(row.state in {"running", "ready", "external"} for row in rows) else 3


def _logs(stack: Stack, parts: list[str]) -> None:
    stack.folder.open()
    logs = [stack.folder.log(part) for part in parts] or sorted(stack.folder.logs.glob("*.log"))
    absent = [log.stem for log in logs if not log.exists()]
    if absent or not logs:
        raise StackError(f"No log of {', '.join(absent) or 'anything'} yet; start with `make up`")
    os.execvp("tail", ["tail", "-n", "20", "-F", *map(str, logs)])  # noqa: S606, S607


def _clean(stack: Stack) -> None:
    try:
        _down(stack)
    except StackError as error:
        # Notes that cannot be read name no process; what they stand for goes all the same.
        print(error)
    stack.folder.remove()


def arguments() -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local", description="The local stack, in the folder .local."
    )
    parser.add_argument("--folder", type=Path, default=CHECKOUT / ".local", help="state folder")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what does not run")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="say how each part is; exit status 3 if one is not well")
    logs = commands.add_parser("logs", help="follow the logs")
    logs.add_argument("part", nargs="*", help="of these parts only")
    commands.add_parser("demo", help="up, then mill a small town")
    commands.add_parser("clean", help="stop everything and delete its data")
    return parser.parse_args()


def run(wanted: argparse.Namespace, interrupts: Interrupts) -> int:
    """Do what was asked for; the exit status.

    Raises:
        StackError: it cannot be done; the message says why.
    """
    if sys.platform != "linux":
        raise StackError("the local stack needs Linux; elsewhere use deploy/compose.yaml")
    stack = Stack(Folder(wanted.folder), interrupts)
    match wanted.command:
        case "up":
            _up(stack)
        case "down":
            _down(stack)
        case "status":
            return _status(stack)
        case "logs":
            _logs(stack, wanted.part)
        case "demo":
            return demo.run(stack)
        case "clean":
            _clean(stack)
    return 0

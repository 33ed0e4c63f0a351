"""The local stack, from a shell: python -m deploy.local up | down | status | logs | demo | clean."""

import argparse
import os
import sys
import time
from pathlib import Path

from deploy.local import demo
from deploy.local.errors import StackError
from deploy.local.folder import CHECKOUT, Folder
from deploy.local.interrupts import Interrupted, Interrupts
from deploy.local.stack import Stack


def _up(stack: Stack) -> None:
    began = time.monotonic()
    stack.up()
    started = ", ".join(stack.started) if stack.started else "nothing, it was up"
    print(f"Started: {started} ({time.monotonic() - began:.1f} s)")
    print(f"Up at {stack.url}; for a shell: source {_short(stack.env_file)}")


def _down(stack: Stack) -> None:
    stopped = stack.down()
    print(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing was running.")


def _status(stack: Stack) -> int:
    rows = stack.status()
    for row in rows:
        print(f"{row.part:<14} {row.state:<10} {row.pid or '':<8} {row.url}".rstrip())
    return 0 if all(row.state in {"running", "ready"} for row in rows) else 3


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


def _short(path: Path) -> Path:
    return path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
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


def main() -> int:
    """The command line; exit status 0 when what was asked for is so."""
    arguments = _arguments()
    if sys.platform != "linux":
        print("The local stack needs Linux; elsewhere use deploy/compose.yaml.", file=sys.stderr)
        return 1
    try:
        with Interrupts() as interrupts:
            return _run(arguments, Stack(Folder(arguments.folder), interrupts))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"\nInterrupted ({interrupted}); what this command had started is stopped.")
        return 128 + interrupted.number


def _run(arguments: argparse.Namespace, stack: Stack) -> int:
    match arguments.command:
        case "up":
            _up(stack)
        case "down":
            _down(stack)
        case "status":
            return _status(stack)
        case "logs":
            _logs(stack, arguments.part)
        case "demo":
            return demo.run(stack)
        case "clean":
            _clean(stack)
    return 0


if __name__ == "__main__":
    sys.exit(main())

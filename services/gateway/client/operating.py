"""The command line of what operators do; the commands need an operator's key."""

import argparse
from collections.abc import Callable
from typing import Any


def add_operating(
    command: Callable[[str, str], argparse.ArgumentParser],
    add_limit: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add the operators' commands."""
    command("instances", "List the running services and what each accepts. For operators.")
    _add_dead_letters(command, add_limit)
    _add_shares(command, add_limit)


def _add_shares(
    command: Callable[[str, str], argparse.ArgumentParser],
    add_limit: Callable[[argparse.ArgumentParser], None],
) -> None:
    kind = command("kind", "Pause, resume or limit a kind of jobs. For operators.")
    kind.add_argument("kind", metavar="KIND", help="see `pointmill kinds`")
    paused = kind.add_mutually_exclusive_group()
    paused.add_argument(
        "--pause", dest="paused", action="store_true", default=None, help="its jobs wait"
    )
    paused.add_argument(
        "--resume", dest="paused", action="store_false", default=None, help="its jobs go on"
    )
    kind.add_argument(
        "--starts",
        type=_parse_starts,
        metavar="N",
        help="start at most so many a minute in the whole system; none: no limit",
    )
    add_limit(command("workspaces", "List the workspaces and their shares. For operators."))
    workspace = command("workspace", "Set a workspace's share of the slots. For operators.")
    workspace.add_argument("id", metavar="ID", help="the workspace's id")
    workspace.add_argument("--weight", type=int, metavar="N", help="against the others', 1 to 1000")
    workspace.add_argument(
        "--max-running",
        type=_parse_cap,
        metavar="N",
        help="at most so many of its jobs run; none: no cap",
    )


def _parse_starts(text: str) -> int:
    """A number from 1 on, or 0 for `none`."""
    if text == "none":
        return 0
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 1 on nor none")
    return int(text)


def _parse_cap(text: str) -> int:
    """A number from 0 on, or -1 for `none`."""
    if text == "none":
        return -1
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 0 on nor none")
    return int(text)


def _add_dead_letters(
    command: Callable[[str, str], argparse.ArgumentParser],
    add_limit: Callable[[argparse.ArgumentParser], None],
) -> None:
    letters = command(
        "dead-letters",
        "Mend, replay or discard messages that died; without an action, list the open ones. "
        "For operators.",
    )
    actions: Any = letters.add_subparsers(dest="action", metavar="ACTION")
    # Left out after the action, they must not undo what stood before it.
    again = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    again.add_argument("--url", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    again.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document"
    )

    def action(name: str, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text, parents=[again], allow_abbrev=False
        )
        if name != "list":
            made.add_argument("id", metavar="ID", help="the dead letter's id")
        return made

    listed = action("list", "List them, newest first; those that are open if nothing is said.")
    states = ("open", "replay_asked", "replayed", "discarded", "all")
    listed.add_argument("--state", choices=states, help="only those in this state")
    listed.add_argument("--queue", help="only those that died there")
    listed.add_argument("--reason", help="only those that died for this reason")
    listed.add_argument("--sender", help="only those of this sender")
    add_limit(listed)
    action("show", "Show one: its body, and what was done to it.")
    mend = action("mend", "Give it another message; the one that came is kept.")
    mend.add_argument("file", metavar="FILE", help="one CloudEvent in JSON; - for the input")
    action("replay", "Have its service handle it now.")
    discard = action("discard", "Give it up.")
    discard.add_argument("why", metavar="REASON", help="why, for those who read it later")

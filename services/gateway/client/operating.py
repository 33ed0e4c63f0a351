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

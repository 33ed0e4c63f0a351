"""The command line: what can be said, and the values it may have."""

import argparse
import json
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from services.gateway.client.operating import add_operating
from services.gateway.client.pipeline import add_pipeline_options

STATES = ("waiting", "queued", "running", "succeeded", "failed", "cancelled")
FILTERS = (
    "state", "kind", "cloud", "project", "created_after", "created_before", "error_code",
)  # fmt: skip
EPILOG = """\
The server and the key come from POINTMILL_URL and POINTMILL_API_KEY; `check` needs neither.
Exit status: 0 done; 1 refused, failed or not reachable; 2 wrong usage; 130 interrupted."""


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        try:
            number = version("pointmill")
        except PackageNotFoundError:
            number = "(not installed)"
        parser.exit(message=f"pointmill {number}\n")


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command line; what cannot be meant ends the process with status 2."""
    parser = new_parser()
    options = parser.parse_args(arguments)
    if options.command == "get" and options.output == "-" and options.json:
        parser.error("-o - and --json exclude each other: the output can hold only one thing")
    if options.command == "schedules" and options.action == "preview":
        wanted = [options.schedule, options.at, options.cron]
        if wanted.count(None) != len(wanted) - 1 or (options.schedule and options.timezone):
            parser.error("preview a SCHEDULE, or what --cron or --at says")
    if options.command in {"cancel", "retry"} and (options.id is None) is not bool(named(options)):
        parser.error("name a job by its ID, or many by options such as --kind and --state")
    if options.command == "retry" and options.wait and options.id is None:
        parser.error("--wait is for a single job")
    for pairs in (getattr(options, "params", None), getattr(options, "inputs", None)):
        names = [name for name, _ in pairs or ()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            parser.error(f"given twice: {', '.join(twice)}")
    return options


def new_parser() -> argparse.ArgumentParser:
    """The parser of the whole command; each command's name ends up in `command`."""
    parser = argparse.ArgumentParser(
        prog="pointmill",
        description="Point clouds in, milled products out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument("--url", help="the server's address, in place of POINTMILL_URL")
    shared = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # Left out, it must not undo what stood before the command.
    shared.add_argument("--url", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    shared.add_argument("--json", action="store_true", help="print one JSON document")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text, parents=[shared], allow_abbrev=False
        )

    _add_files(command)
    _add_jobs(command)
    _add_lists(command)
    _add_schedules(command)
    add_operating(command, _add_limit)
    return parser


def _add_files(command: Any) -> None:
    check = command(
        "check",
        "Say what .las and .laz files hold and whether they can be milled, without any server. "
        "At most 1 MiB of each is read. Status 0 if all can be milled, with warnings or without; "
        "1 if one would be refused or cannot be read.",
    )
    check.add_argument("files", metavar="FILE", nargs="+", help="a file of any size")
    upload = command("upload", "Store .las or .laz files as clouds and have them milled.")
    upload.add_argument("files", metavar="FILE", nargs="+", help="a .las or .laz file")
    upload.add_argument("--project", metavar="NAME", help="the project they belong to; made if new")
    upload.add_argument("--wait", action="store_true", help="wait until they are milled")
    get = command("get", "Download a product of a cloud.")
    get.add_argument("cloud", metavar="CLOUD", help="the cloud's id")
    get.add_argument("product", metavar="PRODUCT", help="copc, preview, info, certificate, …")
    get.add_argument(
        "-o", "--output", metavar="PATH", help="a file (replaced), a folder, or - for the output"
    )
    products = command("products", "List the products of a cloud.")
    products.add_argument("cloud", metavar="CLOUD", help="the cloud's id")


def _add_jobs(command: Any) -> None:
    jobs = command("jobs", "List the jobs, newest first.")
    jobs.add_argument("--state", choices=STATES, help="only those in this state")
    jobs.add_argument("--kind", help="only those of this kind")
    jobs.add_argument("--cloud", metavar="ID", help="only those of this cloud")
    _add_limit(jobs)
    job = command("job", "Show a job.")
    job.add_argument("id", metavar="ID", help="the job's id")
    _add_wait(job)
    cancel = command("cancel", "Cancel a job that has not ended, or all that the options mean.")
    cancel.add_argument("id", metavar="ID", nargs="?", help="the job's id")
    _add_filter(cancel, STATES[:3])
    retry = command(
        "retry",
        "Do a failed or cancelled job again, as a new job, or all that the options mean and that "
        "were not retried yet.",
    )
    retry.add_argument("id", metavar="ID", nargs="?", help="the job's id")
    _add_filter(retry, STATES[4:])
    _add_wait(retry)
    run = command("run", "Order a job of any kind.")
    run.add_argument("kind", metavar="KIND", help="see `pointmill kinds`")
    run.add_argument(
        "params",
        metavar="key=value",
        nargs="*",
        type=parse_parameter,
        help="a parameter; the value is JSON if it reads as JSON, else text",
    )
    run.add_argument("--cloud", metavar="ID", help="the cloud to work on")
    run.add_argument("--priority", type=int, metavar="N", help="higher comes sooner")
    run.add_argument(
        "--unique",
        metavar="KEY",
        help="take the job of this key that has not ended, if there is one",
    )
    add_pipeline_options(run)
    _add_wait(run)


def _add_lists(command: Any) -> None:
    command("kinds", "List the kinds of jobs and their parameters.")
    _add_limit(command("projects", "List the projects, newest first."))
    clouds = command("clouds", "List the clouds, newest first.")
    clouds.add_argument("--project", metavar="ID", help="only those of this project")
    _add_limit(clouds)


def _add_schedules(command: Any) -> None:
    schedules = command(
        "schedules", "Have jobs ordered by the clock; without an action, list them."
    )
    actions = schedules.add_subparsers(dest="action", metavar="ACTION")
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
        return made

    def of_one(name: str, text: str, **more: Any) -> argparse.ArgumentParser:
        made = action(name, text)
        made.add_argument("schedule", metavar="SCHEDULE", help="its id or name", **more)
        return made

    _add_limit(action("list", "List the schedules, newest first."))
    add = action("add", "Have a job ordered at a time, or again and again.")
    add.add_argument("name", metavar="NAME", help="a name that no other schedule has")
    add.add_argument("kind", metavar="KIND", help="see `pointmill kinds`")
    add.add_argument("--cloud", metavar="ID", help="the cloud to work on")
    _add_times(add, required=True)
    _add_settings(add)
    of_one("show", "Show a schedule.")
    change = of_one("change", "Change a schedule: only what is said.")
    change.add_argument("--name", metavar="NAME", help="a new name")
    _add_times(change, required=False)
    _add_settings(change)
    of_one("pause", "Order no more jobs until it is resumed.")
    of_one("resume", "Go on; what was missed in the pause is not made up for.")
    of_one("delete", "Delete a schedule; its jobs stay.")
    _add_limit(of_one("jobs", "List the jobs that a schedule has ordered, newest first."))
    preview = of_one(
        "preview", "Say when the next five jobs come, of a schedule or a line.", nargs="?"
    )
    _add_times(preview, required=False)


def _add_times(parser: argparse.ArgumentParser, *, required: bool) -> None:
    times = parser.add_mutually_exclusive_group(required=required)
    times.add_argument(
        "--at", metavar="TIME", type=parse_time, help="once: 2027-01-31T06:30, here or with +01:00"
    )
    times.add_argument("--cron", metavar="LINE", help="again and again: '30 6 * * MON-FRI'")
    parser.add_argument(
        "--timezone", metavar="ZONE", help="where the line is read: Europe/Zurich (UTC)"
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "params", metavar="key=value", nargs="*", type=parse_parameter, help="as of `run`"
    )
    parser.add_argument("--priority", type=int, metavar="N", help="of its jobs")
    parser.add_argument(
        "--overlap",
        choices=("skip", "queue", "cancel"),
        help="while the job before has not ended: skip this time, wait for it, or cancel it",
    )
    parser.add_argument(
        "--missed",
        choices=("once", "skip"),
        help="when nobody was there at the time: order the job once, or skip it",
    )


def _add_filter(parser: argparse.ArgumentParser, states: Sequence[str]) -> None:
    parser.add_argument("--state", choices=states, help="all in this state")
    parser.add_argument("--kind", help="all of this kind")
    parser.add_argument("--cloud", metavar="ID", help="all of this cloud")
    parser.add_argument("--project", metavar="ID", help="all on the clouds of this project")
    for name, text in (("after", "then or later"), ("before", "earlier")):
        parser.add_argument(
            f"--created-{name}", metavar="TIME", type=parse_time, help=f"all that were made {text}"
        )
    parser.add_argument("--error", metavar="CODE", dest="error_code", help="all that failed so")


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", action="store_true", help="wait for its end; status 1 if it fails"
    )


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=parse_limit, default=20, metavar="N", help="at most so many (20)"
    )


def named(options: argparse.Namespace) -> dict[str, str]:
    """What many jobs have in common, as the API takes it."""
    given = {name: getattr(options, name) for name in FILTERS}
    return {name: value for name, value in given.items() if value is not None}


def parse_limit(text: str) -> int:
    """How many to list: 1 or more."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return number


def parse_time(text: str) -> str:
    """A time of ISO 8601, in the zone of this machine unless it says another."""
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: {error}") from error


def parse_parameter(text: str) -> tuple[str, Any]:
    """`key=value`: the value is JSON if it reads as JSON, else the text itself."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form key=value")
    try:
        return key, json.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return key, value


def _refuse_constant(name: str) -> Any:
    # NaN and Infinity are Python's, not JSON's.
    raise ValueError(name)

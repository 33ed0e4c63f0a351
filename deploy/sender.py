"""Let another internal service ask for jobs over the bus, for one workspace; or no more.

    MIGRATE_DATABASE_URL=… POINTMILL_AMQP_ADMIN_URL=… python -m deploy.sender planner --workspace default

Writes the row in `senders`, the broker's user, its rights and its topic permissions: it may publish
`request.<kind>` for the kinds it is given, and hear the events of its own workspace, through queues
whose names begin with its own. Repeated, it changes what differs. The password is made up and printed
once; it is left alone when the user is there, unless POINTMILL_SENDER_PASSWORD says another.
POINTMILL_AMQP_VHOST is the vhost (default /).
"""

import argparse
import asyncio
import os
import re
import secrets
import sys
from collections.abc import Sequence
from urllib.parse import quote
from uuid import UUID

import asyncpg

from shared import topology
from shared.jobs import slug

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
KIND = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+")
TAKEN = {*topology.USERS, "pointmill", "guest"}


async def enter_sender(url: str, name: str, workspace: str, kinds: Sequence[str] | None) -> UUID:
    """Write the row; the workspace's id.

    Raises:
        ValueError: there is no such workspace, or the sender has another.
    """
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        found = await connection.fetchval(
            "insert into senders (user_id, workspace_id, kinds)"
            " select $1, id, $3 from workspaces where name = $2 or id::text = $2"
            # Queues that it has bound would go on hearing the workspace it had before.
            " on conflict (user_id) do update set kinds = excluded.kinds"
            " where senders.workspace_id = excluded.workspace_id returning workspace_id",
            name,
            workspace,
            None if kinds is None else list(kinds),
        )
    finally:
        await connection.close()
    if found is None:
        raise ValueError(
            f"There is no workspace {workspace}, or {name} has another: name one by its name or id, "
            f"or end what {name} has with --remove first."
        )
    return UUID(str(found))


async def strike_sender(url: str, name: str) -> None:
    """Delete the row; jobs that were asked for stay."""
    connection = await asyncpg.connect(url, timeout=10, statement_cache_size=0)
    try:
        await connection.execute("delete from senders where user_id = $1", name)
    finally:
        await connection.close()


def admit(  # noqa: PLR0913 - what the broker wants to know
    admin_url: str,
    vhost: str,
    name: str,
    workspace: UUID,
    kinds: Sequence[str] | None,
    *,
    password: str | None,
    shell: bool,
) -> str | None:
    """Make the broker's user and its rights; the password if a new one was set.

    Raises:
        OSError: the management API does not answer or refuses.
    """
    user, place = f"users/{quote(name, safe='')}", quote(vhost, safe="")
    if password is None and not _exists(admin_url, user):
        password = secrets.token_urlsafe(24)
    if password is not None:
        tags = "management" if shell else ""
        topology.manage(admin_url, "PUT", user, {"password": password, "tags": tags})
    own = rf"^{re.escape(name)}\..*$"
    topology.manage(
        admin_url,
        "PUT",
        f"permissions/{place}/{name}",
        {
            "configure": own,
            "write": rf"^({re.escape(topology.REQUESTS)}|{own[1:-1]})$",
            "read": rf"^({re.escape(topology.EVENTS)}|{own[1:-1]})$",
        },
    )
    keys = "[a-z0-9_]+" if kinds is None else "|".join(slug(kind) for kind in kinds)
    for exchange, write, read in (
        (topology.REQUESTS, rf"^request\.({keys})$", "^$"),
        # To bind a queue it needs to read the key it binds: nothing but its own workspace's.
        (topology.EVENTS, "^$", rf"^{workspace}\..*$"),
    ):
        topology.manage(
            admin_url,
            "PUT",
            f"topic-permissions/{place}/{name}",
            {"exchange": exchange, "write": write, "read": read},
        )
    return password


def dismiss(admin_url: str, vhost: str, name: str) -> None:
    """Delete the broker's user, which ends its connections, and then its queues.

    Raises:
        OSError: the management API does not answer or refuses.
    """
    user = f"users/{quote(name, safe='')}"
    if _exists(admin_url, user):
        topology.manage(admin_url, "DELETE", user)
    place = quote(vhost, safe="")
    for queue in topology.manage(admin_url, "GET", f"queues/{place}?columns=name") or ():
        if queue["name"].startswith(f"{name}."):
            path = f"queues/{place}/{quote(queue['name'], safe='')}"
            topology.manage(admin_url, "DELETE", path)


def _exists(admin_url: str, path: str) -> bool:
    try:
        topology.manage(admin_url, "GET", path)
    except OSError as error:
        if ": 404 " in str(error):
            return False
        raise
    return True


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.sender", description="Let a service ask for jobs over the bus."
    )
    parser.add_argument("name", help="the service's broker user")
    parser.add_argument("--workspace", metavar="NAME", help="whose jobs they are, by name or id")
    parser.add_argument(
        "--kind", action="append", metavar="KIND", help="may be repeated; every kind if not given"
    )
    parser.add_argument(
        "--shell",
        action="store_true",
        help="let it use rabbitmqadmin, too (set with its password)",
    )
    parser.add_argument("--remove", action="store_true", help="let it ask no more")
    options = parser.parse_args(arguments)
    if not NAME.fullmatch(options.name) or options.name in TAKEN:
        parser.error("name: lower-case letters, digits and -, and none of our own users")
    if not options.remove and not options.workspace:
        parser.error("say whose jobs they are with --workspace")
    if wrong := [kind for kind in options.kind or () if not KIND.fullmatch(kind)]:
        parser.error(f"{wrong[0]} is no kind; a kind is called like demo.print")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit status 0 when done."""
    options = _read_arguments(arguments)
    vhost = os.environ.get("POINTMILL_AMQP_VHOST", "/")
    try:
        database = os.environ["MIGRATE_DATABASE_URL"]
        broker = os.environ["POINTMILL_AMQP_ADMIN_URL"]
        if options.remove:
            dismiss(broker, vhost, options.name)
            asyncio.run(strike_sender(database, options.name))
            sys.stdout.write(f"{options.name} may ask no more.\n")
            return 0
        workspace = asyncio.run(
            enter_sender(database, options.name, options.workspace, options.kind)
        )
        password = admit(
            broker,
            vhost,
            options.name,
            workspace,
            options.kind,
            password=os.environ.get("POINTMILL_SENDER_PASSWORD") or None,
            shell=options.shell,
        )
    except KeyError as error:
        sys.stderr.write(f"Set {error.args[0]}.\n")
        return 2
    except (ValueError, OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{options.name} may ask for jobs of workspace {workspace}\n")
    if password is not None:
        sys.stdout.write(f"password {password}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

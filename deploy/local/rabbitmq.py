"""A private RabbitMQ node: its own ports, cookie, users, data and epmd; no guest."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from deploy.local import children
from deploy.local.children import Child, Command
from deploy.local.errors import StackError
from deploy.local.folder import Folder
from deploy.local.providers import RabbitMQ
from deploy.local.web import call

PART = "rabbitmq"
EPMD = "rabbitmq-epmd"
MANAGEMENT = "rabbitmq-management"
_DISTRIBUTION = "rabbitmq-distribution"
ADMIN = "pointmill"
SERVICE_USERS = ("gateway", "processor", "notifier")


@dataclass(frozen=True)
class Options:
    """How a private node differs between a stack for people and one for tests.

    Attributes:
        parent_death_signal: see `children.Command`.
    """

    parent_death_signal: str | None = None


def start_epmd(folder: Folder, server: RabbitMQ, options: Options) -> Child:
    """Start the private name server that the node insists on. It answers within milliseconds."""
    command = Command(
        argv=[str(server.epmd), "-port", str(folder.port(EPMD)), "-address", "127.0.0.1"],
        env={"PATH": os.defpath},
        cwd=Path("/"),
        marker="epmd",
        parent_death_signal=options.parent_death_signal,
    )
    return children.start(command, folder.log(EPMD))


def start(folder: Folder, server: RabbitMQ, options: Options) -> Child:
    """Start the private node, after its epmd. Does not wait for it."""
    home = folder.path / PART
    home.mkdir(mode=0o700, exist_ok=True)
    amqp, management = folder.port(PART), folder.port(MANAGEMENT)
    distribution = folder.port(_DISTRIBUTION)
    definitions = home / "definitions.json"
    definitions.touch(mode=0o600)
    definitions.write_text(json.dumps(_definitions(folder.secret(f"rabbitmq:{ADMIN}"))))
    (home / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (home / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{amqp}\n"
        "management.tcp.ip = 127.0.0.1\n"
        f"management.tcp.port = {management}\n"
        f"load_definitions = {definitions}\n"
        "log.file = false\n"
        "log.console = true\n"
        "log.console.level = info\n"
        # A laptop's disk is rarely as empty as the default wants it, and a queue is small.
        "disk_free_limit.absolute = 50MB\n"
    )
    environment = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        # The Erlang cookie stands in the home folder.
        "HOME": str(home),
        "RABBITMQ_NODENAME": "pointmill@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "ERL_CRASH_DUMP": "/dev/null",
        # The node asks an epmd for its peers. This one is ours; the default one, on port 4369, would
        # be shared with other nodes and outlive them all.
        "ERL_EPMD_PORT": str(folder.notes.ports[EPMD]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # Lets the start script become the Erlang machine, so that the process started here is the
        # one to signal; otherwise a shell stays between and the machine outlives it.
        "RUNNING_UNDER_SYSTEMD": "1",
        # The schedulers are told not to spin while idle: this node shares its processors.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }
    command = Command(
        argv=[str(server.server)],
        env=environment,
        cwd=home,
        marker="beam",
        # Within milliseconds its queues are closed; then the management plugin waits five seconds
        # for nothing. Queues survive a kill at any moment anyway.
        stop_seconds=2.5,
        parent_death_signal=options.parent_death_signal,
    )
    return children.start(command, folder.log(PART))


def _definitions(password: str) -> dict[str, object]:
    """One administrator and the default vhost; with a user of ours no guest is created."""
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    user = {
        "name": ADMIN,
        "password_hash": _hashed(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "administrator",
    }
    return {
        "users": [user],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": ADMIN, "vhost": "/", **everything}],
    }


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def url(folder: Folder, user: str, vhost: str = "/") -> str:
    """The AMQP address of a vhost for one user."""
    password = folder.secret(f"rabbitmq:{user}")
    path = "" if vhost == "/" else quote(vhost, safe="")
    return f"amqp://{user}:{password}@127.0.0.1:{folder.notes.ports[PART]}/{path}"


def admin_url(folder: Folder) -> str:
    """The address of the management API, with the administrator's name and password."""
    password = folder.secret(f"rabbitmq:{ADMIN}")
    return f"http://{ADMIN}:{password}@127.0.0.1:{folder.notes.ports[MANAGEMENT]}"


def passwords(folder: Folder) -> dict[str, str]:
    """The passwords of the services' users."""
    return {user: folder.secret(f"rabbitmq:{user}") for user in SERVICE_USERS}


async def wait_ready(folder: Folder, child: Child, seconds: float = 90) -> None:
    """Wait until the node speaks AMQP and its management API knows the administrator.

    Raises:
        StackError: it ended or did not answer in time; the message holds the end of its log.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and children.is_running(child):
        if await asyncio.to_thread(_answers, folder):
            return
        await asyncio.sleep(0.1)
    raise StackError(f"RabbitMQ did not start:\n{children.tail(folder.log(PART))}")


def _answers(folder: Folder) -> bool:
    with contextlib.suppress(OSError):
        address = ("127.0.0.1", folder.notes.ports[PART])
        with socket.create_connection(address, timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            # A method frame: the node has opened its side of the conversation.
            if connection.recv(1) != b"\x01":
                return False
        return call("GET", f"{admin_url(folder)}/api/whoami", timeout=5).status == 200
    return False

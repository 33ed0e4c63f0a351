"""The map of the bus: who talks to whom, through what, and who may.

    python -m shared.topology definitions    print the definitions file (no users without passwords)
    python -m shared.topology apply          bring a broker to this map, by its management URL

`apply` reads POINTMILL_AMQP_ADMIN_URL (http[s]://user:password@host:port), POINTMILL_AMQP_PASSWORDS
(JSON: user to password; users without one are left alone) and POINTMILL_AMQP_VHOST (default /).
Services declare passively and never change the map; limits are policies, so that operators may
change them without a deploy.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

REQUESTS = "pointmill.requests"
WORK = "pointmill.work"
EVENTS = "pointmill.events"
PROGRESS = "pointmill.progress"
CONTROL = "pointmill.control"
DEAD = "pointmill.dead"
UNROUTED = "pointmill.unrouted"

EXCHANGES = {
    REQUESTS: "topic",  # other internal services: please run this
    WORK: "topic",  # relays of gateway and processor: doorbells
    EVENTS: "topic",  # relays: facts
    PROGRESS: "topic",  # processor: transient, no confirms
    CONTROL: "fanout",  # gateway: cancel, faster than the next heartbeat
    DEAD: "topic",  # the broker: dead letters
    UNROUTED: "fanout",  # the broker: requests nobody takes
}

LIGHT = "light"
"""The pool of jobs that take well under a second; they are claimed, run and finished in batches."""

POOLS = ("default", LIGHT)
INTAKE = "processor.intake"
NOTIFIER_EVENTS = "notifier.events"


def work_key(pool: str) -> str:
    """The routing key of a pool's doorbells."""
    return f"work.{pool}"


def work_queue(pool: str) -> str:
    """The queue of a pool's doorbells."""
    return f"processor.work.{pool}"


@dataclass(frozen=True)
class Queue:
    """A durable quorum queue: the exchange it is bound to, the keys, whether it dead-letters."""

    exchange: str
    keys: tuple[str, ...]
    dead_letters: bool = True


QUEUES = {
    INTAKE: Queue(REQUESTS, ("request.#",)),
    **{work_queue(pool): Queue(WORK, (work_key(pool),)) for pool in POOLS},
    NOTIFIER_EVENTS: Queue(EVENTS, ("*.job.*.succeeded", "*.job.*.failed", "*.job.*.cancelled")),
    "processor.dead": Queue(DEAD, ("request.#", "work.#"), dead_letters=False),
    "notifier.dead": Queue(DEAD, ("*.job.#",), dead_letters=False),
    UNROUTED: Queue(UNROUTED, ("",), dead_letters=False),
}


# Kept by the processor's registrar, in the table `dead_letters`.
DEAD_QUEUES = tuple(name for name, queue in QUEUES.items() if not queue.dead_letters)


@dataclass(frozen=True)
class Access:
    """A service's user: the names it may configure, write and read, as regular expressions."""

    configure: str
    write: str
    read: str


NOTHING = "^$"
USERS = {
    "gateway": Access(
        r"^gateway\.live\..*$",
        r"^(pointmill\.(work|events|control)|gateway\.live\..*)$",
        r"^(pointmill\.(events|progress)|gateway\.live\..*)$",
    ),
    "processor": Access(
        r"^processor\.control\..*$",
        r"^(pointmill\.(work|events|progress)|processor\.control\..*)$",
        r"^(processor\..*|notifier\.dead|pointmill\.(control|unrouted))$",
    ),
    "notifier": Access(NOTHING, r"^pointmill\.events$", r"^notifier\..*$"),
}

POLICIES: dict[str, dict[str, Any]] = {
    "pointmill-queues": {
        "pattern": r"^(processor\.(intake|work\..*)|notifier\.events)$",
        "apply-to": "queues",
        "definition": {
            "dead-letter-exchange": DEAD,
            # At-least-once needs reject-publish (quorum queues, RabbitMQ 3.10 and later).
            "dead-letter-strategy": "at-least-once",
            "overflow": "reject-publish",
            "max-length": 1_000_000,
            # Redeliveries count on rolling deploys too; 4.x has 20 by default.
            "delivery-limit": 20,
        },
    },
    "pointmill-dead": {
        "pattern": r"^(processor\.dead|notifier\.dead|pointmill\.unrouted)$",
        "apply-to": "queues",
        # Without a limit of its own RabbitMQ 4 drops after 20 deliveries what nobody has settled.
        "definition": {"max-length": 100_000, "delivery-limit": 1_000_000},
    },
    "pointmill-requests": {
        "pattern": r"^pointmill\.requests$",
        "apply-to": "exchanges",
        "definition": {"alternate-exchange": UNROUTED},
    },
}


def definitions(vhost: str = "/", passwords: dict[str, str] | None = None) -> dict[str, Any]:
    """The broker's definitions, as `rabbitmqctl import_definitions` and the management API take them.

    Args:
        vhost: where everything lives.
        passwords: user to password; they stand in the result only as salted SHA-256. Users
            without one are left out, so that an operator's own users stay as they are.
    """
    known = passwords or {}
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {
                "name": user,
                "password_hash": _hash(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
            for user, password in known.items()
        ],
        "permissions": [
            {
                "user": user,
                "vhost": vhost,
                "configure": access.configure,
                "write": access.write,
                "read": access.read,
            }
            for user, access in USERS.items()
            if passwords is None or user in known
        ],
        "exchanges": [
            {
                "name": name,
                "vhost": vhost,
                "type": kind,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for name, kind in EXCHANGES.items()
        ],
        "queues": [
            # Only what can never change is an argument; a changed argument would be refused (406).
            {
                "name": name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": {"x-queue-type": "quorum"},
            }
            for name in QUEUES
        ],
        "bindings": [
            {
                "source": queue.exchange,
                "vhost": vhost,
                "destination": name,
                "destination_type": "queue",
                "routing_key": key,
                "arguments": {},
            }
            for name, queue in QUEUES.items()
            for key in queue.keys
        ],
        "policies": [
            {"name": name, "vhost": vhost, "priority": 10, **policy}
            for name, policy in POLICIES.items()
        ],
    }


def apply(admin_url: str, vhost: str = "/", passwords: dict[str, str] | None = None) -> None:
    """Bring the broker to the map. Harmless when repeated.

    Raises:
        OSError: the management API does not answer or refuses.
    """
    manage(admin_url, "PUT", f"vhosts/{quote(vhost, safe='')}", {})
    manage(admin_url, "POST", "definitions", definitions(vhost, passwords or {}))


def manage(admin_url: str, method: str, path: str, body: Any = None) -> Any:
    """One call of the broker's management API; its JSON answer, None where there is none.

    Raises:
        OSError: it does not answer or refuses.
    """
    parts = urlsplit(admin_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - the operator's own URL
        f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}/api/{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            said = answer.read()
            return json.loads(said) if said else None
    except urllib.error.HTTPError as error:
        # The body names the entry at fault; it holds no password.
        reason = error.read().decode(errors="replace")[:500]
        raise OSError(f"{method} {path}: {error.code} {reason}") from error


def _hash(password: str) -> str:
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def main(arguments: list[str]) -> int:
    """The command line; exit status 0 when done."""
    vhost = os.environ.get("POINTMILL_AMQP_VHOST", "/")
    if arguments == ["definitions"]:
        sys.stdout.write(json.dumps(definitions(vhost), indent=2) + "\n")
        return 0
    if arguments != ["apply"]:
        sys.stderr.write("Say `definitions` or `apply`.\n")
        return 2
    url = os.environ.get("POINTMILL_AMQP_ADMIN_URL")
    if not url:
        sys.stderr.write("Set POINTMILL_AMQP_ADMIN_URL to the broker's management URL.\n")
        return 2
    try:
        apply(url, vhost, json.loads(os.environ.get("POINTMILL_AMQP_PASSWORDS", "{}")))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The broker was not brought to the map: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

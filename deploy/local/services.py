"""How the three services and the sinks are started: each with its own variables and no others."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.children import Command
from deploy.local.folder import CHECKOUT

SERVICES = ("gateway", "processor", "notifier")
SINKS = "sinks"
SINKS_SMTP = "sinks-smtp"
MEMBER = "you@example.test"
_SENDER = "Pointmill <pointmill@example.test>"

# What a program needs of the machine it runs on; everything else of ours is kept from the services.
_MACHINE = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")
# What gcloud's own libraries read when the objects are in a bucket.
_CLOUD = ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "CLOUDSDK_CONFIG")


@dataclass(frozen=True)
class Surroundings:
    """What the services are told about the rest of the system.

    Attributes:
        database: service -> address of the database under the service's own role.
        amqp: service -> address of the broker under the service's own user.
        storage: address of the object store.
        ports: service or sink -> TCP port on 127.0.0.1.
        scratch: where the processor may write while it works.
        data: where the sinks write down what arrived.
        signing: what the gateway signs links by.
    """

    database: Mapping[str, str]
    amqp: Mapping[str, str]
    storage: str
    ports: Mapping[str, int]
    scratch: Path
    data: Path
    signing: str = ""

    def url(self, part: str) -> str:
        """The HTTP address of a service or of the sinks."""
        return f"http://127.0.0.1:{self.ports[part]}"


def variables(part: str, around: Surroundings) -> dict[str, str]:
    """A part's own environment variables."""
    if part == SINKS:
        return {
            "SINKS_HTTP_PORT": str(around.ports[SINKS]),
            "SINKS_SMTP_PORT": str(around.ports[SINKS_SMTP]),
            "SINKS_FOLDER": str(around.data),
        }
    prefix = part.upper()
    own = {
        f"{prefix}_DATABASE_URL": around.database[part],
        f"{prefix}_AMQP_URL": around.amqp[part],
        f"{prefix}_HOST": "127.0.0.1",
        f"{prefix}_PORT": str(around.ports[part]),
    }
    if part == "notifier":
        return own | {
            "NOTIFIER_SMTP_URL": f"smtp://127.0.0.1:{around.ports[SINKS_SMTP]}",
            "NOTIFIER_MAIL_FROM": _SENDER,
            "NOTIFIER_PUBLIC_URL": around.url("gateway"),
            # The webhook sink listens on this machine.
            "NOTIFIER_ALLOW_PRIVATE_WEBHOOKS": "true",
        }
    own[f"{prefix}_STORAGE_URL"] = around.storage
    if part == "processor":
        own["PROCESSOR_SCRATCH"] = str(around.scratch)
    elif around.signing:
        own["GATEWAY_SIGNING_SECRET"] = around.signing
    return own


def command(
    part: str,
    around: Surroundings,
    extra: Mapping[str, str] | None = None,
    parent_death_signal: str | None = None,
) -> Command:
    """What starts a service or the sinks.

    Args:
        part: one of `SERVICES`, or `SINKS`.
        around: the rest of the system.
        extra: variables on top, such as POINTMILL_FAILPOINTS.
        parent_death_signal: see `children.Command`.
    """
    module = "deploy.local.sinks" if part == SINKS else f"services.{part}"
    machine = {name: os.environ[name] for name in (*_MACHINE, *_CLOUD) if name in os.environ}
    return Command(
        argv=[sys.executable, "-m", module],
        env={**machine, **variables(part, around), **(extra or {})},
        cwd=CHECKOUT,
        marker=module,
        # Longer than the 20 s that a service gives its running jobs and requests.
        stop_seconds=30,
        parent_death_signal=parent_death_signal,
    )


def readiness(part: str, around: Surroundings) -> str:
    """The address that answers 200 once the part can do its work."""
    return f"{around.url(part)}/{'livez' if part == SINKS else 'readyz'}"

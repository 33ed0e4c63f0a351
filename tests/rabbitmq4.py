"""RabbitMQ 4.0 beside this machine's own: Debian 13's package in a folder, with everything it needs.

    python -m tests.rabbitmq4 FOLDER     unpack it (once, some minutes), print the folder of its programs

With that folder first in PATH, whatever starts a RabbitMQ starts this one: each program enters the
folder as its root, in a mount namespace of its own that ends with it. Needs root and debootstrap.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SUITE = "trixie"
PROGRAMS = ("rabbitmq-server", "rabbitmqctl", "rabbitmq-plugins")
ENTER = """#!/bin/sh
# Enter the other system and become the program: the process that was started is the one to signal.
exec unshare --mount --propagation private sh -c '
for shared in /tmp /proc /dev; do mount --rbind $shared "{root}$shared" || exit 1; done
exec /usr/sbin/chroot "{root}" "$0" "$@"' "{program}" "$@"
"""


def unpack(root: Path) -> None:
    """Make the other system, unless it is there.

    Raises:
        SystemExit: this machine cannot; the message says what it lacks.
    """
    if next(root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-4.*"), None):
        return
    if os.geteuid() != 0:
        sys.exit("Only root can enter another system: run this as root.")
    if shutil.which("debootstrap") is None:
        subprocess.run(["apt-get", "install", "-y", "-q", "debootstrap"], check=True)
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    words = ["debootstrap", "--variant=minbase", "--include=rabbitmq-server", SUITE, str(root)]
    subprocess.run(words, check=True, stdout=sys.stderr)


def write_programs(root: Path, folder: Path) -> None:
    """Write what enters the system, one file per program."""
    (server,) = root.glob("usr/lib/rabbitmq/lib/rabbitmq_server-4.*")
    folder.mkdir(exist_ok=True)
    for name in PROGRAMS:
        program = Path("/") / server.relative_to(root) / "sbin" / name
        path = folder / name
        path.write_text(ENTER.format(root=root, program=program))
        path.chmod(0o755)


def main(arguments: list[str]) -> None:
    """The command line."""
    if len(arguments) != 1:
        sys.exit("Name one folder.")
    folder = Path(arguments[0]).resolve()
    unpack(folder / "root")
    write_programs(folder / "root", folder / "programs")
    sys.stdout.write(f"{folder / 'programs'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

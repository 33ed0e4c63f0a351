"""The local stack, from a shell: python -m deploy.local up | down | status | logs | demo | clean."""

import sys

from deploy.local.errors import StackError
from deploy.local.interrupts import Interrupted, Interrupts


def main() -> int:
    """The command line; exit status 0 when what was asked for is so."""
    try:
        with Interrupts() as interrupts:
            # Loading the rest takes a moment, in which an interrupt must end quietly, too.
            from deploy.local import commands  # noqa: PLC0415

            return commands.run(commands.arguments(), interrupts)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        print(f"\nInterrupted ({interrupted}); what this command had started is stopped.")
        return 128 + interrupted.number


if __name__ == "__main__":
    sys.exit(main())

"""The process of one crew member: reads orders from a pipe, does them, answers.

Started as `python -m services.processor.pointcloud.crew_member FD PARENT`.
"""

import contextlib
import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection

from services.processor.pointcloud.failures import out_of_memory, writing_failed
from services.processor.pointcloud.miller import Miller
from shared.errors import PointmillError

_PR_SET_PDEATHSIG = 1


def serve(connection: Connection) -> None:
    """Take the plan, then order after order until the other end is closed."""
    name, plan = connection.recv()
    miller = Miller(name, plan, lambda points: connection.send(("points", points)))
    while True:
        method, arguments = connection.recv()
        connection.send(_answer(miller, method, arguments))


def _answer(miller: Miller, method: str, arguments: tuple[object, ...]) -> tuple[str, object]:
    try:
        return "done", getattr(miller, method)(*arguments)
    except PointmillError as error:
        return "failed", error.to_dict()
    except MemoryError:
        return "failed", out_of_memory("milling the points").to_dict()
    except OSError as error:
        return "failed", writing_failed(error).to_dict()
    except Exception as error:
        # A mistake of ours. The parent raises it, so that it is seen where all of them are seen.
        return "broken", f"{method}: {type(error).__name__}: {error}"


def die_with(parent: int) -> None:
    """Have the kernel end this process when its parent ends, however that happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    """Serve on the descriptor that the command line names."""
    die_with(int(sys.argv[2]))
    with contextlib.suppress(EOFError, BrokenPipeError), Connection(int(sys.argv[1])) as connection:
        serve(connection)


if __name__ == "__main__":
    main()

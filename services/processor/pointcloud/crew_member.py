"""The process of one crew member: reads orders from a pipe, does them, answers."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from multiprocessing.connection import Connection

from services.processor.pointcloud.failures import out_of_memory, writing_failed
from services.processor.pointcloud.miller import Miller
from services.processor.pointcloud.plan import Plan
from shared.errors import PointmillError

_PR_SET_PDEATHSIG = 1


def work(
    connection: Connection, foreign: Iterable[Connection], parent: int, name: str, plan: Plan
) -> None:
    """Do order after order until the other end is closed, or the parent is gone.

    `foreign` are ends of pipes that this fork of the parent must let go of.
    """
    die_with(parent)
    for end in foreign:
        end.close()
    with contextlib.suppress(EOFError, BrokenPipeError), connection:
        _serve(connection, name, plan)


def _serve(connection: Connection, name: str, plan: Plan) -> None:
    miller = Miller(name, plan, lambda points: connection.send(("points", points)))
    with contextlib.closing(miller):
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

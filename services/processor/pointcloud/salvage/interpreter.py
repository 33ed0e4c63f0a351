"""A fresh interpreter of ours, for work that may end it: it inherits nothing but a pipe."""

import os
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[4]


def start_interpreter(module: str) -> tuple[Connection, subprocess.Popen[bytes]]:
    """A fresh interpreter that runs this module of ours, and our end of the pipe to it."""
    ours, theirs = Pipe()
    with theirs:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)]),
            # Threads of the linear algebra library would only reserve memory.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                sys.executable,
                "-m",
                module,
                str(theirs.fileno()),
                str(os.getpid()),
            ],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
    return ours, process

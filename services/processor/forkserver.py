"""The process that the children of attempts are forked from: it has their libraries in memory already.

    python -m services.processor.forkserver FD PARENT        only forks.py starts it

An interpreter with the libraries of point clouds takes a second of processor time to start, more
than a small file takes to mill; a fork of one takes milliseconds. So that a fork is as good as a
fresh interpreter this process holds no secret, no connection, no second thread and nothing of any
job: it imports, forks, and waits. A kind's libraries are imported when its first job comes.

A request is one packet on the socket FD: what to fork for, and the child's stdin, stdout and stderr.
The answer is another: the child's process id. The child is nobody's but PARENT's: it is forked
twice, and PARENT adopts what is orphaned below it. So it outlives this process, and dies with PARENT.
"""

import contextlib
import gc
import json
import os
import random
import socket
import sys
import tempfile
import time
import traceback
from typing import Any, NoReturn

from services.processor import child, sandbox
from services.processor.catalogue import load_task

PACKET_BYTES = 1 << 16


def main(arguments: list[str]) -> int:
    """Serve until the other end of the socket is closed."""
    descriptor, parent = (int(argument) for argument in arguments)
    child.die_with(parent)
    sandbox.prepare()
    with socket.socket(fileno=descriptor) as channel:
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(channel, PACKET_BYTES, 3)
            except ConnectionResetError:  # it was killed before it had heard our last answer
                return 0
            if not packet:
                return 0
            request = json.loads(packet)
            _prepare(request["kind"])
            _fork_twice(channel, request, descriptors, parent)
            for number in descriptors:
                os.close(number)


_prepared: set[str] = set()


def _prepare(kind: str) -> None:
    """Have in memory what the kind needs. What fails here fails in the child again, where it is told."""
    if kind not in _prepared:
        with contextlib.suppress(Exception):
            if prepare := load_task(kind).prepare:
                prepare()
        _prepared.add(kind)
        gc.collect()
        gc.freeze()  # no child's collector touches, and so copies, the pages of what is here


def _fork_twice(
    channel: socket.socket, request: dict[str, Any], descriptors: list[int], parent: int
) -> None:
    between = os.fork()
    if between == 0:
        status = 1
        with contextlib.suppress(OSError):
            own = os.getpid()
            pid = os.fork()
            if pid == 0:
                _await_adoption(own, parent)
                _become(request, descriptors, channel)
            with contextlib.suppress(PermissionError):
                os.setpgid(pid, pid)  # here and there, whoever comes first: the group must exist
            channel.send(json.dumps({"ticket": request["ticket"], "pid": pid}).encode())
            status = 0
        os._exit(status)
    os.waitpid(between, 0)


def _become(request: dict[str, Any], descriptors: list[int], channel: socket.socket) -> NoReturn:
    """Be the child of an attempt, in a process group of its own, until the end."""
    status = 1
    try:
        os.setpgid(0, 0)
        channel.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        tempfile.tempdir = None  # it was made up from another environment
        random.seed()
        status = child.main()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _await_adoption(between: int, parent: int) -> None:
    """Wait until the process between has ended; leave if `parent`, who adopts then, is dead already."""
    while os.getppid() == between:
        time.sleep(0.0005)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

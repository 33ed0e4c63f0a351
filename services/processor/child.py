"""The child process of one attempt: walls and limits first, then the task, then one word about its end.

It is forked by forkserver.py, which lets `main` read the order on stdin. It holds no secret and no connection. Stdout carries JSON lines for the parent: the level of its
sandbox, progress, then `result` or `error`. Whatever the task prints goes to stderr, whose tail is kept with the attempt.
"""

import ctypes
import io
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import orjson
from pydantic import ValidationError

from services.processor import sandbox
from services.processor.catalogue import load_task
from services.processor.task import Limits, Outcome, Task, Work
from shared.errors import PointmillError

PR_SET_PDEATHSIG = 1
MAX_RESULT_BYTES = 32 * 1024
MAX_LOG_CHARACTERS = 4000
CPU_SLACK_SECONDS = 10


def die_with(parent: int) -> None:
    """Be killed by the kernel when the parent dies; leave if it is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def set_limits(limits: Limits) -> None:
    """Limits that hold for this process and whatever it starts.

    A limit above what the machine allows becomes what the machine allows.
    """
    wanted = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: 4096,
        resource.RLIMIT_CORE: 0,
    }
    for name, value in wanted.items():
        _, hard = resource.getrlimit(name)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # At the soft limit the kernel says which limit it was (SIGXCPU); at the hard one it only kills.
        slack = CPU_SLACK_SECONDS if name == resource.RLIMIT_CPU else 0
        ceiling = allowed + slack if hard == resource.RLIM_INFINITY else min(allowed + slack, hard)
        resource.setrlimit(name, (allowed, ceiling))


def main() -> int:
    """Do what the order on stdin says; exit status 0 when an answer was written."""
    order = orjson.loads(sys.stdin.readline())
    die_with(order["parent"])
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the task prints is its log

    def say(**words: Any) -> None:
        answer.write(orjson.dumps(words) + b"\n")
        answer.flush()

    try:
        say(sandbox=_shut_in(order))
        task = load_task(order["kind"])
        set_limits(task.limits)
    except PointmillError as error:
        say(error=error.to_dict(), retryable=error.retryable)
        return 0
    except Exception:
        traceback.print_exc()
        say(error=_task_error(), retryable=True)
        return 0
    if not order["batches"]:
        say(**_run(task, order["params"], _work(order, say, sys.stderr)))
        return 0
    for batch in sys.stdin:
        for params in orjson.loads(batch):
            log = io.StringIO()
            ending = _run(task, params, _work(order, _unheard, log), log)
            say(**ending, log=log.getvalue()[-MAX_LOG_CHARACTERS:])
    return 0


def _unheard(**_: Any) -> None:
    """A light job ends before anybody could read how far it is."""


def _run(
    task: Task, params: dict[str, Any], work: Work, log: TextIO | None = None
) -> dict[str, Any]:
    """Run the task once; its `result` or its `error`, as the parent reads it."""
    try:
        return _describe(task.run(task.params.model_validate(params), work))
    except PointmillError as error:
        return {"error": error.to_dict(), "retryable": error.retryable}
    except ValidationError as error:
        return {"error": _invalid_params(error), "retryable": False}
    except MemoryError:
        return {"error": _out_of_memory(), "retryable": False}
    except Exception:  # a bug in the task: its trace goes to the log, not to the user
        traceback.print_exc(file=log)
        return {"error": _task_error(), "retryable": True}


def _shut_in(order: dict[str, Any]) -> sandbox.Level:
    kernel = sandbox.probe()
    sandbox.require(order["sandbox"], kernel)
    return sandbox.enter(
        kernel,
        reads=[Path(path) for path in (order["source"], *order["inputs"].values()) if path],
        own=(Path(order["out"]), Path(order["scratch"])),
        parent=order["parent"],
    )


def _work(order: dict[str, Any], say: Callable[..., None], log: TextIO) -> Work:
    began = time.monotonic()

    def progress(
        stage: str, fraction: float, message: str, seconds_left: float | None = None
    ) -> None:
        fraction = round(min(max(fraction, 0.0), 1.0), 4)
        if seconds_left is None and fraction:
            seconds_left = (time.monotonic() - began) * (1 - fraction) / fraction
        words: dict[str, Any] = {"stage": stage, "fraction": fraction, "message": message}
        if seconds_left is not None:
            words["eta_seconds"] = round(max(seconds_left, 0.0), 1)
        say(progress=words)

    def write(line: str) -> None:
        log.write(line + "\n")

    return Work(
        source=Path(order["source"]) if order["source"] else None,
        source_name=order["source_name"],
        out=Path(order["out"]),
        scratch=Path(order["scratch"]),
        memory_bytes=order["memory_bytes"],
        workers=order["workers"],
        progress=progress,
        log=write,
        inputs={name: Path(path) for name, path in order["inputs"].items()},
    )


def _describe(outcome: Outcome) -> dict[str, Any]:
    result = outcome.result.model_dump(mode="json")
    if len(orjson.dumps(result)) > MAX_RESULT_BYTES:
        raise ValueError("The task's result is too large; large things are products.")
    products = [
        {"name": product.name, "path": str(product.path), "media_type": product.media_type}
        for product in outcome.products
    ]
    return {"result": result, "products": products}


def _invalid_params(error: ValidationError) -> dict[str, str]:
    fields = "; ".join(
        f"params.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
        for item in error.errors(include_input=False, include_url=False)
    )
    return {
        "code": "invalid_params",
        "title": "The parameters do not fit the kind",
        "detail": fields,
        "remedy": "Correct the named fields and order the job again.",
    }


def _out_of_memory() -> dict[str, str]:
    return {
        "code": "out_of_memory",
        "title": "The task needs more memory than it may have",
        "detail": "An allocation was refused.",
        "remedy": "Split the file, or ask the operators for more memory per job.",
    }


def _task_error() -> dict[str, str]:
    return {
        "code": "task_error",
        "title": "The task has failed by a fault of its own",
        "detail": "It is not the file's or the parameters' fault as far as we know.",
        "remedy": "Retry the job; if it fails again, tell the operators its id.",
    }

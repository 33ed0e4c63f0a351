"""demo.sleep: a job of any length, for drills: watch progress, cancel it, kill its worker."""

import os
import signal
import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.processor.task import Limits, Outcome, Task, Work
from shared.errors import TaskFailed

STEP_SECONDS = 0.1


class Params(BaseModel):
    """How long, and how it ends."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(default=5, ge=0, le=86_400)
    ending: Literal["well", "refuse", "error", "crash", "out_of_memory"] = Field(
        default="well",
        description="How the drill ends: well, refused, by a bug, by a signal, or out of memory.",
    )


class Result(BaseModel):
    """How long it was."""

    slept: float


def run(params: Params, work: Work) -> Outcome:
    """Sleep in small steps, telling how far it is."""
    start = time.monotonic()
    while (passed := time.monotonic() - start) < params.seconds:
        work.progress(
            "sleeping", passed / params.seconds, f"{passed:.1f} of {params.seconds:.1f} s"
        )
        time.sleep(min(STEP_SECONDS, params.seconds - passed))
    _end(params.ending)
    return Outcome(Result(slept=params.seconds))


def _end(ending: str) -> None:
    if ending == "refuse":
        raise TaskFailed(
            "drill_refused",
            "The drill was refused",
            "It was asked to end this way.",
            "Ask for another.",
        )
    if ending == "error":
        raise RuntimeError("a bug that the drill asked for")
    if ending == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if ending == "out_of_memory":
        raise MemoryError


TASK = Task(
    kind="demo.sleep",
    title="Sleep for a while",
    description="Sleeps and reports progress; for drills with cancel, retry and killed workers.",
    params=Params,
    result=Result,
    run=run,
    limits=Limits(run_seconds=90_000, cpu_seconds=3600, backoff_seconds=0.2),
)

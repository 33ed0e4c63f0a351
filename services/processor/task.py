"""What a task kind is: the one shape that every file in tasks/ fills."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from shared.topology import LIGHT

GIBIBYTE = 1 << 30
ANY_INPUT = ("*",)


@dataclass(frozen=True)
class Limits:
    """What one attempt of a kind may use, and how often it may be tried.

    Attributes:
        attempts: how many attempts may fail before the job fails for good.
        backoff_seconds: pause before the second attempt; doubles with each further one.
        run_seconds: wall time of one attempt.
        start_seconds: how long a job may stay queued before it fails with `not_started`.
        total_seconds: from acceptance to the end, pauses and retries included; a job that takes
            longer fails with `total_time_limit`, whether it runs or waits. None: no limit.
        retry_codes: failures that are tried again although they say that it would not help.
        no_retry_codes: failures that are not tried again although they say that it may help, such
            as `worker_lost` for a task whose effects outside must not come twice.
        memory_bytes: address space of one process beyond what the interpreter and its libraries map.
        cpu_seconds: processor time of one process of the attempt.
        file_bytes: size of one file that the attempt may write.
    """

    attempts: int = 3
    backoff_seconds: float = 2.0
    run_seconds: float = 3600.0
    start_seconds: float = 86_400.0
    total_seconds: float | None = None
    retry_codes: frozenset[str] = frozenset()
    no_retry_codes: frozenset[str] = frozenset()
    memory_bytes: int = 4 * GIBIBYTE
    cpu_seconds: int = 7200
    file_bytes: int = 512 * GIBIBYTE


@dataclass(frozen=True)
class Needs:
    """What a slot must offer before it takes a job of the kind.

    Attributes:
        cores: at least so many processes may be kept busy (`PROCESSOR_WORKERS`).
        memory_bytes: at least so much memory may be used (`PROCESSOR_MEMORY`).
    """

    cores: int = 1
    memory_bytes: int = 0


@dataclass(frozen=True)
class Product:
    """A file that a task has made, to be kept. `name` is short and unique within the job."""

    name: str
    path: Path
    media_type: str


@dataclass(frozen=True)
class Outcome:
    """What a task hands back: the job's `result` and its files."""

    result: BaseModel
    products: tuple[Product, ...] = ()


class Progress(Protocol):
    """How a task says how far it is."""

    def __call__(
        self, stage: str, fraction: float, message: str, seconds_left: float | None = None, /
    ) -> None:
        """Say the stage, the fraction of the whole (0 to 1) and a sentence for people.

        A task that does not know how many seconds are left has them reckoned from the fraction.
        """


@dataclass(frozen=True)
class Work:
    """Where a task works and how it speaks. All paths are local and belong to this attempt alone.

    Attributes:
        source: the cloud's file, already downloaded and verified; None for kinds without one.
        source_name: the name it was uploaded under.
        inputs: products of other jobs, downloaded and verified, by the names the order gives them.
        out: folder for products.
        scratch: folder for everything else; removed after the attempt.
        memory_bytes: how much memory the whole attempt should stay within.
        workers: how many processes the attempt may keep busy.
        progress: to be called now and then.
        log: one line for the tail of the task's log.
    """

    source: Path | None
    source_name: str | None
    out: Path
    scratch: Path
    memory_bytes: int
    workers: int
    progress: Progress
    log: Callable[[str], None]
    inputs: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One task kind. Its file's name is the kind with `_` for `.`; presence is registration.

    A kind in the pool `light` takes well under a second, works on no file and makes none; its jobs are
    claimed, run and finished in batches.

    `prepare` loads what `run` needs and its file does not import. It is called once, in the process
    that all children are forked from: it opens nothing and starts no thread. `inputs` are the names
    under which it takes products of other jobs; `ANY_INPUT` alone allows every name.
    """

    kind: str
    title: str
    description: str
    params: type[BaseModel]
    result: type[BaseModel]
    run: Callable[[Any, Work], Outcome]
    prepare: Callable[[], None] | None = None
    pool: str = "default"
    needs_source: bool = False
    inputs: tuple[str, ...] = ()
    version: int = 1
    limits: Limits = field(default_factory=Limits)
    needs: Needs = field(default_factory=Needs)

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: a light kind wants files.
        """
        if self.pool == LIGHT and (self.needs_source or self.inputs):
            raise ValueError(f"{self.kind} is light: it cannot work on a file.")

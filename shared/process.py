"""How every service lives: logs, supervised tasks, signals, an end that is an end."""

import asyncio
import logging
import os
import re
import signal
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog
from structlog.types import EventDict, WrappedLogger

SECRET_NAMES = frozenset(
    {"authorization", "password", "token", "secret", "signature", "cookie", "api_key", "url"}
)
SECRETS = (
    (re.compile(r"(pm_[0-9a-f]{8})_[0-9a-f_]+"), r"\1_***"),
    (re.compile(r"(whsec_)[A-Za-z0-9+/=]+"), r"\1***"),
    (re.compile(r"(\w+://[^\s:/@]+):[^\s@]+@"), r"\1:***@"),
    (re.compile(r"(?i)(bearer )\S+"), r"\1***"),
)
MARKS = ("pm_", "whsec_", "://", "earer ", "EARER ")
SHUTDOWN_SECONDS = 10.0

logger = structlog.get_logger()


def service_version() -> str:
    """The version that is installed; `0` for a bare copy of the sources."""
    try:
        return version("pointmill")
    except PackageNotFoundError:
        return "0"


def instance_name(service: str) -> str:
    """A name for this process that no other has had."""
    return f"{service}-{socket.gethostname().split('.')[0]}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


def mask(text: str) -> str:
    """The text without the secrets that have a known form: keys, passwords in URLs, bearer tokens."""
    if not any(mark in text for mark in MARKS):  # a log line costs a search, not four
        return text
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def mask_event(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor that lets no secret into a log."""
    for name, value in event.items():
        if name.lower() in SECRET_NAMES:
            event[name] = mask(str(value)) if name == "url" else "***"
        elif isinstance(value, str):
            event[name] = mask(value)
    return event


def configure_logging(service: str, level: str = "INFO") -> None:
    """One JSON object per line on stderr, from structlog and from the libraries alike."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                mask_event,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("aio_pika", "aiormq"):
        # What they say of a lost broker at every try, our own lines say once.
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


class BackgroundTaskEnded(Exception):
    """A task that must run as long as the service has ended: so does the service."""


class Supervisor:
    """The background tasks of a service. Any end that is not shutdown ends the process."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], str] = {}
        self.stopping = asyncio.Event()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run the work in the background, under watch."""
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = name
        return task

    async def run_until_stopped(self) -> None:
        """Wait for SIGTERM or SIGINT.

        Raises:
            BackgroundTaskEnded: a task ended before, whatever the reason.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        stop = asyncio.create_task(self.stopping.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({stop, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        for task, name in self._tasks.items():
            if task in done and not self.stopping.is_set():
                error = None if task.cancelled() else task.exception()
                raise BackgroundTaskEnded(f"{name} has ended") from error
        logger.info("stopping")

    async def stop(self) -> None:
        """Cancel what still runs, the youngest first, and wait for each.

        What was started later may need what was started before to leave in order.
        """
        self.stopping.set()
        for task, name in reversed(self._tasks.items()):
            task.cancel()
            _, late = await asyncio.wait({task}, timeout=SHUTDOWN_SECONDS)
            if late:
                logger.error("task_did_not_stop", task=name)


def run_service(
    service: str,
    serve: Callable[[], Awaitable[None]],
    log_level: str = "INFO",
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """Run a service until it is told to stop; the exit status for the shell.

    0 after SIGTERM or SIGINT; 1 when something that must run has ended, so that whoever started
    the service starts it again. `loop` makes another event loop than asyncio's own.
    """
    configure_logging(service, log_level)
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(_await(serve))
    except BackgroundTaskEnded as error:
        logger.critical(
            "background_task_ended", detail=str(error), exc_info=error.__cause__ or error
        )
        return 1
    except OSError as error:
        logger.critical("could_not_start", detail=str(error))
        return 1
    logger.info("stopped")
    return 0


async def _await(serve: Callable[[], Awaitable[None]]) -> None:
    await serve()

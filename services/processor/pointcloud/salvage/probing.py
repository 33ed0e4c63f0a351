"""Sending probers to damaged points: one at a time, a fresh one for each that does not come back."""

import signal
import subprocess
from collections.abc import Generator
from multiprocessing.connection import Connection

from services.processor.pointcloud.salvage.errands import (
    PATIENCE_SECONDS,
    POINTS_A_SECOND,
    Batch,
    Errand,
    Site,
)
from services.processor.pointcloud.salvage.interpreter import start_interpreter
from shared.errors import TaskFailed

MODULE = "services.processor.pointcloud.salvage.prober"
MOST_DEATHS = 100
"""Then no further one is sent: each takes a third of a second to start."""

_STALL_FACTOR = 30  # a prober that uses up its processor time ends itself long before
_GOODBYE_SECONDS = 2.0


class DamageFound(Exception):
    """The points do not decode; the text says why.

    `at_end` tells whether the decoder had read all there is by then: it is cut rather than wrong.
    """

    def __init__(self, reason: str, *, at_end: bool = False) -> None:
        super().__init__(reason)
        self.at_end = at_end


class Probers:
    """The probers of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._prober: tuple[Connection, subprocess.Popen[bytes]] | None = None
        self.deaths = 0

    def send(self, errand: Errand) -> Generator[Batch, None, None]:
        """The batches of an errand, each when it is written. Iterate to the end, or close it.

        Raises:
            DamageFound: the decoder refuses, dies, or takes too long.
            TaskFailed: the rescued points cannot be written.
        """
        if self.deaths >= MOST_DEATHS:
            raise DamageFound("decoders died of this file too often to go on")
        connection, _ = self._prober = self._prober or self._start()
        ended = False
        try:
            connection.send(errand)
            while True:
                if not connection.poll(_patience(errand)):
                    raise DamageFound("the decoder stalled")
                kind, content = connection.recv()
                ended = kind != "written"
                if kind == "written":
                    yield content
                elif kind == "done":
                    return
                elif kind == "damaged":
                    reason, at_end = content
                    raise DamageFound(f"decoding failed: {reason}", at_end=at_end)
                else:
                    raise TaskFailed(**content)
        except (EOFError, OSError):
            raise DamageFound(self._bury()) from None
        finally:
            if not ended:
                self.close()

    def close(self) -> None:
        """End the prober, whatever it is doing."""
        if self._prober is None:
            return
        connection, process = self._prober
        self._prober = None
        connection.close()
        process.kill()
        process.wait(_GOODBYE_SECONDS)

    def _start(self) -> tuple[Connection, subprocess.Popen[bytes]]:
        connection, process = start_interpreter(MODULE)
        connection.send(self._site)
        return connection, process

    def _bury(self) -> str:
        """What the prober died of."""
        self.deaths += 1
        if self._prober is None:
            return "the decoder is gone"
        try:
            status = self._prober[1].wait(_GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            return "the decoder stalled"
        if status == -signal.SIGXCPU:
            return "the decoder took too long"
        if status < 0:
            return f"the decoder died by {signal.Signals(-status).name}"
        return f"the decoder ended with exit status {status}"


def _patience(errand: Errand) -> float:
    known = errand.skip / POINTS_A_SECOND
    return _STALL_FACTOR * (PATIENCE_SECONDS + errand.step / POINTS_A_SECOND + known)

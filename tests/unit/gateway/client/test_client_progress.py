"""What is shown while a job runs: its stage and how long it will still take."""

import io
import time

from rich.console import Console

from services.gateway.client.api import Document
from services.gateway.client.progress import open_watch


def running(**progress: object) -> Document:
    return {"state": "running", "progress": {"stage": "build", "fraction": 0.4, **progress}}


def shown(job: Document) -> str:
    """What a terminal shows of a job's bar, all frames after each other."""
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    with open_watch(screen, quiet=False) as watch, watch.job("town.laz") as tell:
        tell(job)
        time.sleep(0.25)  # it is drawn ten times a second
    file = screen.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_a_bar_says_how_long_it_will_take() -> None:
    assert "build 40 %, about 12 s left" in shown(running(eta_seconds=12.2))


def test_a_bar_says_how_long_it_has_taken_if_nobody_knows_how_long_it_will() -> None:
    assert "build 40 %, 0." in shown(running())

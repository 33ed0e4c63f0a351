"""What is planted into a service of a test, and only there: Python runs it before the service's own code."""

from collections.abc import Sequence

from deploy.local.folder import CHECKOUT
from tests.fixtures.system import System

SKEW = """
import datetime, time

true_time, true_time_ns, true_datetime = time.time, time.time_ns, datetime.datetime


class Like(type):
    # What others have made with the true class is one of these, too.
    def __instancecheck__(cls, thing):
        return isinstance(thing, true_datetime)


class Skewed(true_datetime, metaclass=Like):
    @classmethod
    def now(cls, tz=None):
        return true_datetime.now(tz) + datetime.timedelta(seconds={seconds})

    @classmethod
    def utcnow(cls):
        return true_datetime.utcnow() + datetime.timedelta(seconds={seconds})


time.time = lambda: true_time() + {seconds}
time.time_ns = lambda: true_time_ns() + {seconds} * 10**9
datetime.datetime = Skewed
"""
"""The wall clock goes wrong by so many seconds; the monotonic clock does not, as in life."""

SHORT_LIMIT = """
from dataclasses import replace
from services.processor.tasks import demo_sleep

demo_sleep.TASK = replace(
    demo_sleep.TASK, limits=replace(demo_sleep.TASK.limits, run_seconds={seconds})
)
"""
"""An attempt of `demo.sleep` may last no longer."""


def plant(system: System, services: Sequence[str], code: str) -> None:
    """Have the code run in these services at their next start."""
    for service in services:
        folder = system.folder / "plants" / service
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(code)
        path = f"{folder}:{CHECKOUT}"
        system.variables.setdefault(service, {})["PYTHONPATH"] = path

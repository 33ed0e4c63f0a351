"""What live listeners hear of an attempt: the first at once, then seldom, and always the latest."""

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.processor import progress
from services.processor.progress import reporting
from services.processor.resources import Processor
from shared.bus import Outgoing
from shared.db import Row
from shared.failpoints import Failpoints

JOB = cast("Row", {"id": uuid.uuid4(), "workspace_id": uuid.uuid4(), "attempt": 3})


class Broker:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    async def hint(self, outgoing: Outgoing) -> None:
        self.heard.append(outgoing.message["data"])


def processor_with(broker: Broker) -> Processor:
    return cast(
        "Processor",
        SimpleNamespace(running={}, failpoints=Failpoints(), bus=SimpleNamespace(publisher=broker)),
    )


def said(fraction: float, left: float | None = None) -> dict[str, Any]:
    return {"stage": "build", "fraction": fraction, "message": "", "eta_seconds": left}


async def test_the_first_is_told_at_once_and_of_many_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.2)
    broker = Broker()
    async with reporting(processor_with(broker), JOB) as report:
        report(said(0.1, left=60))
        await asyncio.sleep(0.05)
        assert [words["fraction"] for words in broker.heard] == [0.1]
        for fraction in (0.2, 0.3, 0.4):
            report(said(fraction, left=50))
        await asyncio.sleep(0.05)
        assert len(broker.heard) == 1
        await asyncio.sleep(0.3)
        assert [words["fraction"] for words in broker.heard] == [0.1, 0.4]
        # It waited to be told, and so much less is left.
        assert 49 < broker.heard[-1]["eta_seconds"] < 50


async def test_nothing_is_told_after_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.1)
    broker = Broker()
    async with reporting(processor_with(broker), JOB) as report:
        report(said(0.1))
        await asyncio.sleep(0.05)
        report(said(0.9))
    await asyncio.sleep(0.2)
    assert len(broker.heard) == 1

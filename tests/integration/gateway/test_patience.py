"""`Prefer: wait=N`: the answer comes with the job's end, or when the time is over."""

import asyncio
import time

import pytest

from services.gateway.patience import seconds_of
from tests.integration.gateway.conftest import Running

PRINT = {"kind": "demo.print", "params": {"first": "a"}}


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=5", 5),
        ("respond-async, wait=7", 7),
        ("WAIT = 3 ; foo=bar", 3),
        ('wait="4"', 4),
        ("wait=86400", 30),
        ("wait=-1", 0),
        ("wait=ten", 0),
        ("await=5", 0),
        ("wait=5x", 0),
    ],
)
def test_only_a_wait_is_understood_and_never_a_long_one(prefer: str | None, seconds: int) -> None:
    assert seconds_of(prefer) == seconds


async def test_the_answer_comes_with_the_end_of_the_job(running: Running) -> None:
    api = running.api
    job = await api.make("/v1/jobs", **PRINT, priority=100)
    began = time.monotonic()
    asked = asyncio.create_task(api("GET", f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=20"}))
    await asyncio.sleep(0.3)
    assert not asked.done()
    await api("POST", f"/v1/jobs/{job['id']}/cancel")
    answer = await asked
    assert time.monotonic() - began < 15
    assert (answer.json["state"], answer.headers["Preference-Applied"]) == ("cancelled", "wait=20")
    assert "Retry-After" not in answer.headers


async def test_a_job_that_goes_on_is_told_when_the_time_is_over(running: Running) -> None:
    job = await running.api.make("/v1/jobs", **PRINT)
    path, began = f"/v1/jobs/{job['id']}", time.monotonic()
    answer = await running.api("GET", path, headers={"Prefer": "wait=1"})
    assert 0.9 < time.monotonic() - began < 5
    assert (answer.status, answer.json["state"]) == (200, "queued")
    assert answer.headers["Retry-After"] == "1"
    quick = await running.api("GET", path)
    assert "Preference-Applied" not in quick.headers
    await running.api("POST", f"{path}/cancel")


async def test_an_ended_job_and_a_strangers_are_answered_at_once(running: Running) -> None:
    job = await running.api.make("/v1/jobs", **PRINT)
    path, headers = f"/v1/jobs/{job['id']}", {"Prefer": "wait=30"}
    await running.api("POST", f"{path}/cancel")
    began = time.monotonic()
    assert (await running.api("GET", path, headers=headers)).json["state"] == "cancelled"
    assert (await running.other("GET", path, headers=headers)).status == 404
    assert time.monotonic() - began < 5

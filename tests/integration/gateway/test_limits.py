"""The limits of a request, on the whole gateway: how many, how large, how deep, how slow."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO

import pytest

from services.gateway import bodies
from services.gateway.ration import BUCKETS, Buckets
from tests.integration.gateway.conftest import Running


@pytest.fixture
async def slow_bucket(running: Running) -> AsyncIterator[None]:
    """Two requests a second, twenty at once; the other tests' bucket afterwards."""
    buckets = vars(running.app[BUCKETS])
    before = dict(buckets)
    buckets.update(vars(Buckets(2)))
    yield
    buckets.update(before)


async def test_a_key_that_sends_too_many_is_told_to_wait(
    running: Running, slow_bucket: None
) -> None:
    answers = [await running.api("GET", "/v1/kinds") for _ in range(22)]
    assert [answer.status for answer in answers[:20]] == [200] * 20
    assert answers[0].headers["RateLimit-Policy"] == '"default";q=20;w=10'
    assert answers[0].headers["RateLimit"].startswith('"default";r=19;')
    refused = answers[-1]
    assert refused.problem == (429, "too_many_requests", [])
    assert int(refused.headers["Retry-After"]) >= 1
    assert (await running.other("GET", "/v1/kinds")).status == 200, "another key's bucket is full"
    spoofed = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    again = await running.api("GET", "/v1/kinds", headers=spoofed)
    assert again.status == 429, "it goes by the key, whatever address is claimed"
    await asyncio.sleep(0.6)
    assert (await running.api("GET", "/v1/kinds")).status == 200


async def test_a_wrong_key_takes_nothing_from_the_right_one(
    running: Running, slow_bucket: None
) -> None:
    key = running.api.key or ""
    liar = replace(running.api, key=key[:-1] + ("0" if key[-1] != "0" else "1"))
    for _ in range(25):
        assert (await liar("GET", "/v1/kinds")).status == 401
    answer = await running.api("GET", "/v1/kinds")
    assert answer.headers["RateLimit"].startswith('"default";r=19;')


async def test_json_of_more_than_a_mebibyte_is_refused_before_it_is_sent(running: Running) -> None:
    large = b'{"name": "' + b"a" * (1 << 20) + b'"}'
    answer = await running.api(
        "POST", "/v1/projects", data=BytesIO(large), headers={"Content-Type": "application/json"},
        expect100=True,
    )  # fmt: skip
    assert answer.problem == (413, "body_too_large", ["body"])


@pytest.mark.parametrize(("levels", "status"), [(32, 201), (33, 422), (180, 422), (100_000, 400)])
async def test_json_is_only_so_deep(running: Running, levels: int, status: int) -> None:
    document = b'{"name": "deep", "properties": {"a": ' + b"[" * levels + b"]" * levels + b"}}"
    answer = await running.api(
        "POST", "/v1/clouds", data=document, headers={"Content-Type": "application/json"}
    )
    assert answer.status == status
    if status != 201:
        assert answer.problem[2] in (["properties"], ["body"])


async def test_json_that_does_not_arrive_in_time_is_given_up(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "JSON_SECONDS", 0.3)

    async def drip() -> AsyncIterator[bytes]:
        yield b'{"name": '
        await asyncio.sleep(1)
        yield b'"slow"}'

    answer = await running.api(
        "POST", "/v1/projects", data=drip(), headers={"Content-Type": "application/json"}
    )
    assert answer.problem == (408, "body_too_slow", [])

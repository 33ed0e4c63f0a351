import pytest
from aiohttp import web

from services.gateway.client import follow
from services.gateway.client.api import Document, Pointmill
from services.gateway.client.failures import Refused
from services.gateway.client.follow import follow_job
from tests.unit.gateway.client.standin import Server, cut, event, new_job, problem

EVENTS = "GET /v1/jobs/*/events"
JOB = "GET /v1/jobs/*"


@pytest.fixture
def job(server: Server) -> Document:
    made = new_job("demo.print", None)
    server.jobs[made["id"]] = made
    return made


async def test_a_job_is_followed_to_its_end(api: Pointmill, server: Server, job: Document) -> None:
    told: list[str] = []
    ended = await follow_job(api, job["id"], lambda seen: told.append(seen["state"]))
    assert ended["state"] == "succeeded"
    assert ended["result"] == {"points": 1065}
    assert told == ["running", "succeeded", "succeeded"]
    assert len(server.requests("GET", f"/v1/jobs/{job['id']}/events")) == 1


async def test_a_broken_stream_is_taken_up_after_the_last_event(
    api: Pointmill, server: Server, job: Document
) -> None:
    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(event("queued", job, 41))
        await response.write(b"id: 42\nevent: started\nda")
        await cut(request)
        return response

    server.scripts[EVENTS] = [break_off]
    ended = await follow_job(api, job["id"])
    assert ended["state"] == "succeeded"
    first, second = server.requests("GET", f"/v1/jobs/{job['id']}/events")
    assert "Last-Event-ID" not in first.headers
    assert second.headers["Last-Event-ID"] == "41"


async def test_without_a_stream_the_job_is_asked_for(
    api: Pointmill, server: Server, job: Document
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=404, text="a proxy that knows no streams")

    looks = 0

    async def look(_: web.Request) -> None:
        nonlocal looks
        looks += 1
        if looks == 6:
            server.end(job)

    server.scripts[EVENTS] = [refuse] * 100
    server.scripts[JOB] = [look] * 100
    ended = await follow_job(api, job["id"])
    assert ended["state"] == "succeeded"
    assert looks == 6
    # After a few tries it is the job alone that is asked for.
    assert len(server.requests("GET", f"/v1/jobs/{job['id']}/events")) == follow.EMPTY_STREAMS


async def test_a_server_that_is_away_for_a_while_is_waited_for(
    api: Pointmill, server: Server, job: Document
) -> None:
    async def vanish(request: web.Request) -> None:
        await cut(request)

    async def be_away(_: web.Request) -> web.Response:
        return web.Response(status=502)

    server.scripts[EVENTS] = [vanish, be_away, vanish]
    server.scripts[JOB] = [vanish, be_away, vanish]
    ended = await follow_job(api, job["id"])
    assert ended["state"] == "succeeded"


async def test_a_server_that_stays_away_is_given_up(
    api: Pointmill, server: Server, job: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def be_away(_: web.Request) -> web.Response:
        return web.Response(status=503)

    monkeypatch.setattr(follow, "ATTEMPTS", 4)
    server.scripts[EVENTS] = [be_away] * 10
    server.scripts[JOB] = [be_away] * 10
    with pytest.raises(Refused, match="503"):
        await follow_job(api, job["id"])
    assert len(server.scripts[JOB]) == 6


async def test_an_unknown_job_is_not_waited_for(api: Pointmill) -> None:
    with pytest.raises(Refused) as caught:
        await follow_job(api, "00000000-0000-0000-0000-000000000000")
    assert caught.value.code == "job_not_found"


async def test_a_key_revoked_meanwhile_ends_the_waiting(
    api: Pointmill, server: Server, job: Document
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return problem(401, "unauthorized", "No valid API key came with the request.")

    server.scripts[EVENTS] = [refuse]
    server.scripts[JOB] = [refuse]
    with pytest.raises(Refused) as caught:
        await follow_job(api, job["id"])
    assert caught.value.code == "unauthorized"

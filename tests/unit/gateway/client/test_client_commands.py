import json

import pytest
from aiohttp import web

from tests.unit.gateway.client.standin import Run, Script, Server, cut, new_job, problem

AS_OF = "2026-11-24T04:00:00Z"


async def test_parameters_are_json_where_they_read_as_json(run: Run) -> None:
    ran = await run(
        "run", "demo.print", "a=1", "b=hello world", 'c=["x"]', "d=", "e=a=b", "f=NaN", "--json"
    )
    assert ran.status == 0, ran.err
    params = {"a": 1, "b": "hello world", "c": ["x"], "d": "", "e": "a=b", "f": "NaN"}
    assert ran.document()["params"] == params
    assert ran.document()["state"] == "queued"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("upload",),
        ("mill",),
        ("run", "demo.print", "a"),
        ("run", "demo.print", "a=1", "a=2"),
        ("run", "demo.gather", "--input", "left=0"),
        ("run", "demo.gather", "--input", "left=0/copc", "--input", "left=1/copc"),
        ("jobs", "--state", "tired"),
        ("jobs", "--limit", "0"),
        ("cancel",),
        ("cancel", "0", "--kind", "demo.print"),
        ("retry", "--kind", "demo.print", "--wait"),
        ("schedules", "mend", "x"),
        ("schedules", "add", "x", "demo.print"),
        ("schedules", "add", "x", "demo.print", "--at", "tomorrow"),
        ("schedules", "add", "x", "demo.print", "--at", "2100-01-01", "--cron", "* * * * *"),
        ("schedules", "add", "x", "demo.print", "a=1", "a=2", "--cron", "* * * * *"),
        ("schedules", "add", "x", "demo.print", "--cron", "* * * * *", "--overlap", "both"),
        ("schedules", "preview"),
        ("schedules", "preview", "x", "--cron", "* * * * *"),
        ("schedules", "preview", "x", "--timezone", "UTC"),
    ],
)
async def test_wrong_usage_ends_with_status_2(run: Run, arguments: tuple[str, ...]) -> None:
    ran = await run(*arguments)
    assert ran.status == 2
    assert ran.out == ""
    assert "usage: pointmill" in ran.err


async def test_a_job_that_is_waited_for_is_printed_as_it_ended(run: Run) -> None:
    ran = await run("run", "demo.print", "a=1", "--wait", "--json")
    assert (ran.status, ran.err) == (0, "")
    assert ran.document()["state"] == "succeeded"


async def test_waiting_for_a_job_that_fails_ends_with_status_1(run: Run, server: Server) -> None:
    server.fails = {"code": "too_sad", "title": "", "detail": "It wept.", "remedy": "Cheer."}
    ran = await run("run", "demo.print", "a=1", "--wait")
    assert ran.status == 1
    assert ran.err.splitlines()[-1] == "pointmill: It wept (too_sad). Cheer."
    assert "failed" in ran.out


async def test_a_refused_order_is_told_with_its_code_and_remedy(run: Run) -> None:
    ran = await run("run", "no.such")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == ("pointmill: kind: no.such is not known (unknown_kind). List the kinds.\n")


async def test_an_order_whose_answer_was_lost_is_repeated_under_the_same_key(
    run: Run, server: Server
) -> None:
    server.jobs["known"] = new_job("demo.print", None)

    async def lose(request: web.Request) -> None:
        await cut(request)

    server.scripts["POST /v1/jobs"] = [lose]
    ran = await run("run", "demo.print", "a=1")
    # The first answer of all was lost: a wrong address looks the same, so it is not repeated.
    assert ran.status == 1

    async def be_away(_: web.Request) -> web.Response:
        return problem(503, "database_unavailable", "The database is not available.")

    server.asked.clear()
    server.scripts["POST /v1/jobs"] = [be_away, lose]
    ran = await run("run", "demo.print", "a=1")
    assert ran.status == 0, ran.err
    keys = {one.headers["Idempotency-Key"] for one in server.requests("POST", "/v1/jobs")}
    assert len(server.requests("POST", "/v1/jobs")) == 3
    assert len(keys) == 1


async def test_many_jobs_are_asked_for_batch_by_batch_up_to_the_time_of_the_first(
    run: Run, server: Server
) -> None:
    wanted = []

    def batch(done: int, left: int) -> Script:
        async def answer(request: web.Request) -> web.Response:
            wanted.append(await request.json())
            told = {"matched": done + left, "done": done, "left": left, "as_of": AS_OF}
            return web.json_response(told, status=202)

        return answer

    server.scripts["POST /v1/jobs/retry"] = [batch(500, 2), batch(2, 0)]
    ran = await run("retry", "--error", "worker_lost")
    assert (ran.status, ran.out) == (0, "Ordered again: 502 jobs.\n")
    first = {"error_code": "worker_lost"}
    assert wanted == [first, {**first, "created_before": AS_OF}]


async def test_jobs_are_listed_as_a_table_and_as_json(run: Run, server: Server) -> None:
    for kind, state in (("demo.print", "queued"), ("demo.sleep", "running")):
        job = new_job(kind, None, state=state)
        server.jobs[job["id"]] = job
    ran = await run("jobs", "--state", "running")
    assert ran.status == 0
    assert "demo.sleep" in ran.out
    assert "demo.print" not in ran.out
    ran = await run("jobs", "--json", "--limit", "1")
    assert [job["kind"] for job in ran.document()] == ["demo.print"]


async def test_a_job_is_shown_with_everything_about_it(run: Run, server: Server) -> None:
    params = {"words": "a\x1b[2Jb"}
    job = new_job("demo.print", None, params=params)
    server.jobs[job["id"]] = job
    server.end(job)
    ran = await run("job", job["id"])
    assert ran.status == 0
    assert job["id"] in ran.out
    assert "a�[2Jb" in ran.out
    assert "1,065" in ran.out
    assert "2.5 s" in ran.out
    assert (await run("job", job["id"], "--json")).document() == job


async def test_a_job_is_cancelled_and_tried_again(run: Run, server: Server) -> None:
    job = new_job("demo.sleep", None)
    server.jobs[job["id"]] = job
    ran = await run("cancel", job["id"])
    assert (ran.status, ran.out) == (0, f"Job {job['id']} is cancelled.\n")
    ran = await run("retry", job["id"], "--wait", "--json")
    assert ran.status == 0
    assert ran.document()["retry_of"] == job["id"]
    assert ran.document()["state"] == "succeeded"


@pytest.mark.parametrize("command", ["job", "cancel", "retry"])
async def test_an_unknown_job_ends_with_status_1(run: Run, command: str) -> None:
    ran = await run(command, "00000000-0000-0000-0000-000000000000")
    assert (ran.status, ran.out) == (1, "")
    assert "(job_not_found)" in ran.err


async def test_kinds_are_listed_with_their_parameters(run: Run) -> None:
    ran = await run("kinds")
    assert ran.status == 0
    assert "Print two words" in ran.out
    assert "a, [b]" in ran.out
    assert (await run("kinds", "--json")).document()[0]["kind"] == "demo.print"


async def test_projects_are_listed(run: Run, server: Server) -> None:
    assert (await run("projects")).out == "No projects.\n"
    server.projects.append(
        {"id": "p", "name": "[red]Harbour", "description": "", "created_at": "2026-11-24T04:00:00Z"}
    )
    # What looks like markup is a name like any other.
    assert "[red]Harbour" in (await run("projects")).out


async def test_a_missing_key_is_told_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POINTMILL_API_KEY")
    ran = await run("jobs")
    assert ran.status == 1
    assert ran.err.startswith("pointmill: POINTMILL_API_KEY is not set (setting_missing). Set it,")
    assert ran.err.count("\n") == 1


async def test_a_wrong_key_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTMILL_API_KEY", "wrong")
    ran = await run("jobs")
    assert ran.status == 1
    assert "(unauthorized)" in ran.err
    assert "wrong" not in ran.err


async def test_a_server_that_is_not_there_is_told_at_once(run: Run, unused_tcp_port: int) -> None:
    ran = await run("jobs", "--url", f"http://127.0.0.1:{unused_tcp_port}")
    assert ran.status == 1
    assert "cannot be reached (Connection refused)" in ran.err
    assert "(unreachable). Check POINTMILL_URL" in ran.err


async def test_the_address_may_stand_before_the_command(run: Run, unused_tcp_port: int) -> None:
    ran = await run("--url", f"http://127.0.0.1:{unused_tcp_port}", "jobs")
    assert "cannot be reached" in ran.err


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>hello"),
        web.Response(body=b"[]", content_type="application/json"),
        web.Response(status=302, headers={"Location": "https://elsewhere/"}),
    ],
    ids=["a page", "no object", "a redirect"],
)
async def test_another_server_is_recognised(run: Run, server: Server, answer: web.Response) -> None:
    async def be_another(_: web.Request) -> web.Response:
        return answer

    server.scripts["GET /v1/jobs"] = [be_another]
    ran = await run("jobs")
    assert ran.status == 1
    assert "(unexpected_answer)" in ran.err
    assert "Traceback" not in ran.err


async def test_a_bug_shows_nobody_a_traceback(run: Run, server: Server) -> None:
    async def leave_out(_: web.Request) -> web.Response:
        return web.json_response({"items": [{"id": "x"}]})

    server.scripts["GET /v1/jobs"] = [leave_out]
    ran = await run("jobs")
    assert ran.status == 1
    assert ran.err == "pointmill: the command failed: KeyError: 'kind'\n"


async def test_long_lists_are_read_page_by_page(run: Run, server: Server) -> None:
    for number in range(230):
        server.projects.append(
            {
                "id": str(number),
                "name": f"p{number}",
                "description": "",
                "created_at": "2026-11-24T04:00:00Z",
            }
        )
    ran = await run("projects", "--limit", "215", "--json")
    assert [project["id"] for project in json.loads(ran.out)] == [str(n) for n in range(215)]

"""The straight story: a file goes up, events come down, products and notices arrive."""

import asyncio
import hashlib
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures import honest
from tests.fixtures.system import HOOK, System

README = Path(__file__).parents[2] / "README.md"
POINTS = 2000
NOTICE_SECONDS = 20.0
ENDS = {"succeeded", "failed", "cancelled"}


async def output_of(*command: str | Path) -> str:
    """What a program prints; it has to end well."""
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode() + err.decode()
    return out.decode()


async def curl(system: System, name: str, path: Path) -> Any:
    """Upload a file with curl as the README says; the answer's document."""
    return json.loads(
        await output_of(
            *("curl", "-sS", "--fail-with-body", "--max-time", "20", "-X", "POST", "-T", path),
            *("-H", f"Authorization: Bearer {system.api_key}"),
            f"{system.url}/v1/clouds?name={name}",
        )
    )


async def events_of(system: System, job: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The events of a job until its stream ends."""
    async with asyncio.timeout(60), system.client.get(f"/v1/jobs/{job}/events") as answer:
        assert answer.content_type == "text/event-stream"
        name = ""
        async for line in answer.content:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)


async def about(
    job: str, arrived: Callable[[], Awaitable[list[dict[str, Any]]]]
) -> list[dict[str, Any]]:
    """What has arrived about a job, as soon as there is something; and a moment later, if more."""
    async with asyncio.timeout(NOTICE_SECONDS):
        while not any(job in json.dumps(one) for one in await arrived()):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    return [one for one in await arrived() if job in json.dumps(one)]


async def answered(system: System, method: str, path: str, **options: Any) -> Any:
    """The document of an answer that has to be a 2xx."""
    async with system.client.request(method, path, **options) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json()


async def test_a_file_sent_with_curl_ends_in_products_a_mail_and_a_webhook(
    module_system: System, tmp_path: Path
) -> None:
    system = module_system
    await system.register_webhook()
    town = tmp_path / "town.laz"
    town.write_bytes(honest.laz(7, POINTS))
    made = await curl(system, "town.laz", town)
    job = made["job"]["id"]
    assert made["cloud"]["state"] == "stored"
    assert made["cloud"]["source"]["bytes"] == town.stat().st_size

    events = [event async for event in events_of(system, job)]
    names = [name for name, _ in events]
    assert names[0] == "queued"
    assert names[-1] == "succeeded"
    assert "started" in names
    assert not ENDS & set(names[:-1])
    assert events[-1][1]["result"]["points"] == POINTS

    listed = (await answered(system, "GET", f"/v1/clouds/{made['cloud']['id']}/products"))["items"]
    names = {one["name"] for one in listed}
    assert names >= {"copc", "preview", "info", "boundary", "dsm", "item", "certificate"}
    # Of the libraries behind these nothing is loaded before the sandbox is closed.
    assert names >= {"dtm", "chm", "contours"}
    for product in listed:
        await check_download(system, product)

    (mail,) = await about(job, system.mails)
    assert "town.laz" in mail["subject"]
    assert mail["recipients"] == [system.database.member]
    (webhook,) = await about(job, system.webhooks)
    assert (webhook["hook"], webhook["verified"]) == (HOOK, True)
    assert webhook["body"]["type"] == "pointmill.job.succeeded.v1"


async def check_download(system: System, product: dict[str, Any]) -> None:
    """Fetch a product whole and in part."""
    async with system.client.get(product["href"]) as answer:
        whole = await answer.read()
    assert len(whole) == product["bytes"]
    assert hashlib.sha256(whole).hexdigest() == product["sha256"]
    async with system.client.get(product["href"], headers={"Range": "bytes=10-99"}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes 10-99/{len(whole)}"
        assert await answer.read() == whole[10:100]


async def test_a_bad_file_ends_in_a_notice_that_says_what_to_do(
    module_system: System, tmp_path: Path
) -> None:
    system = module_system
    cut = tmp_path / "cut.laz"
    cut.write_bytes(honest.laz(7, POINTS)[:-500])
    job = (await curl(system, "cut.laz", cut))["job"]["id"]
    ended = await system.wait_job(job)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "laz_truncated")
    (mail,) = await about(job, system.mails)
    for said in ("cut.laz", ended["error"]["remedy"].split(":")[0]):
        assert said in re.sub(r"\s+", " ", mail["subject"] + mail["text"])

    again = await answered(system, "POST", f"/v1/jobs/{job}/retry")
    assert (again["retry_of"], again["params"]) == (job, ended["params"])
    assert (await system.wait_job(again["id"]))["error"]["code"] == "laz_truncated"
    assert (await system.job(job))["ended_at"] == ended["ended_at"]


async def test_a_running_job_is_cancelled_and_may_be_tried_again(module_system: System) -> None:
    system = module_system
    order = {"kind": "demo.sleep", "params": {"seconds": 600}}
    job = (await answered(system, "POST", "/v1/jobs", json=order))["id"]
    await system.wait_job(job, until=lambda job: job["state"] == "running")
    await answered(system, "POST", f"/v1/jobs/{job}/cancel")
    ended = await system.wait_job(job, seconds=10)
    assert (ended["state"], ended["attempt"]) == ("cancelled", 1)

    again = (await answered(system, "POST", f"/v1/jobs/{job}/retry"))["id"]
    await system.wait_job(again, until=lambda job: job["state"] == "running")
    await answered(system, "POST", f"/v1/jobs/{again}/cancel")
    assert (await system.wait_job(again, seconds=10))["retry_of"] == job


async def test_another_service_asks_for_work_as_the_readme_says(
    module_system: System, tmp_path: Path
) -> None:
    system = module_system
    url = await system.broker.add_user(
        "planner",
        r"^planner\..*",
        r"^(planner\..*|pointmill\.requests)$",
        r"^(planner\..*|pointmill\.events)$",
    )
    async with system.database.connected() as connection:
        await connection.execute(
            "insert into senders (user_id, workspace_id) values ('planner', $1)", DEFAULT_WORKSPACE
        )
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        if "aio_pika" in block
    )
    script = tmp_path / "planner.py"
    script.write_text(example)
    variables = (f"AMQP_URL={url}", f"WORKSPACE={DEFAULT_WORKSPACE}")

    said = await output_of("env", *variables, sys.executable, script)

    (job,) = set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", said)) - {
        str(DEFAULT_WORKSPACE)
    }
    ended = await system.wait_job(job)
    assert (ended["state"], ended["kind"]) == ("succeeded", "demo.print")
    assert ended["result"] == {"printed": "hello world"}
    # Sent again, it is the same order.
    assert job in await output_of("env", *variables, sys.executable, script)

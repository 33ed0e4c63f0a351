"""What `make demo` shows: a town goes in over HTTP and comes out milled, and people are told."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.local import services
from deploy.local.errors import StackError
from deploy.local.folder import CHECKOUT, for_people
from deploy.local.stack import Stack
from deploy.local.web import Answer, call, lines

_TOLD_SECONDS = 20.0
_HOOK = "demo"
_TOWN_SECONDS = 60.0


def run(stack: Stack) -> int:
    """Bring the stack up, send the town through it and print what came of it."""
    began = time.monotonic()
    stack.folder.open()
    town = _begin_town(stack)
    try:
        stack.up()
        print(f"Up after {time.monotonic() - began:.1f} s: {', '.join(stack.started) or 'it was'}")
        _finish(town)
        api = Api(stack)
        _register_hook(stack, api)
        outcome = _upload(stack, api, _town_file(stack))
        told = _wait_told(stack, outcome["job"]["id"])
    except BaseException:
        stack.undo()
        raise
    finally:
        if town is not None:
            town.kill()
            town.wait()
    _report(stack, api, outcome, told)
    print(f"\nDone in {time.monotonic() - began:.1f} s. It stays up until `make down`.")
    return 0


class Api:
    """The gateway's HTTP API with the stack's key."""

    def __init__(self, stack: Stack) -> None:
        """Address and key are those of the stack."""
        self.url = stack.url
        self._headers = {"Authorization": f"Bearer {stack.api_key}"}

    def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        """One call; anything but success is a failed demo."""
        answer = call(method, f"{self.url}{path}", body=body, headers=self._headers, timeout=30)
        if answer.status >= 400:
            said = answer.body.decode(errors="replace")[:500]
            raise StackError(f"{method} {path} was answered with {answer.status}: {said}")
        return answer

    def stream(self, path: str) -> Iterator[bytes]:
        """The lines of an endless answer, as they come."""
        return lines(f"{self.url}{path}", headers=self._headers, timeout=30)


def _town_file(stack: Stack) -> Path:
    return stack.folder.path / "town.laz"


def _begin_town(stack: Stack) -> "subprocess.Popen[bytes] | None":
    """Make the town while the servers start."""
    if _town_file(stack).exists():
        return None
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.local.town", _town_file(stack)],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
    )


def _finish(town: "subprocess.Popen[bytes] | None") -> None:
    if town is not None and town.wait(_TOWN_SECONDS) != 0:
        raise StackError("the town could not be made; see above")


def _register_hook(stack: Stack, api: Api) -> None:
    """Have ended jobs told to the webhook sink, which learns the secret to check signatures."""
    target = f"{stack.sinks_url}/hooks/{_HOOK}"
    for hook in api("GET", "/v1/webhooks?limit=100").json()["items"]:
        if hook["url"].startswith(f"{stack.sinks_url}/"):
            # The secret is told only once; a new hook is simpler than to remember it.
            api("DELETE", f"/v1/webhooks/{hook['id']}")
    secret = api("POST", "/v1/webhooks", {"url": target}).json()["secret"]
    call("PUT", target, body={"secret": secret})


def _upload(stack: Stack, api: Api, town: Path) -> dict[str, Any]:
    """Upload through the command that people use; at a terminal it draws the progress."""
    print(f"\n$ pointmill upload {town.name} --project Demo --wait", flush=True)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TERM": os.environ.get("TERM", "dumb"),
        "POINTMILL_URL": stack.url,
        "POINTMILL_API_KEY": stack.api_key,
    }
    program = Path(sys.executable).with_name("pointmill")
    command = [str(program), "upload", str(town), "--project", "Demo", "--wait", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as upload:
        if not sys.stderr.isatty():
            _print_progress(upload, api)
        said = upload.communicate()[0]
    try:
        outcome: dict[str, Any] = json.loads(said)
    except ValueError:
        raise StackError("the upload did not work; see above and `make logs`") from None
    if upload.returncode != 0 or outcome.get("error") or not outcome.get("job"):
        error = outcome.get("error") or (outcome.get("job") or {}).get("error")
        raise StackError(f"the town was not milled: {json.dumps(error)}")
    return outcome


def _print_progress(upload: "subprocess.Popen[bytes]", api: Api) -> None:
    """A line for each stage of the job, for those who read a log."""
    job = _new_job(upload, api)
    said = ""
    for line in api.stream(f"/v1/jobs/{job}/events") if job else ():
        if not line.startswith(b"data:"):
            continue
        told = json.loads(line.removeprefix(b"data:"))
        progress = told.get("progress") if told["state"] == "running" else None
        words = f"{progress['stage']} {progress['fraction']:.0%}" if progress else told["state"]
        if words != said:
            print(f"  {words}", flush=True)
            said = words


def _new_job(upload: "subprocess.Popen[bytes]", api: Api) -> str | None:
    """The job that the upload has just made; None when there is none."""
    path = "/v1/jobs?kind=pointcloud.ingest&limit=1"
    before = [job["id"] for job in api("GET", path).json()["items"]]
    while upload.poll() is None:
        for job in api("GET", path).json()["items"]:
            if job["id"] not in before:
                return str(job["id"])
        time.sleep(0.05)
    return None


def _wait_told(stack: Stack, job: str) -> dict[str, list[dict[str, Any]]]:
    """Wait for the mail and the webhook about the job; say so if one does not come."""
    found: dict[str, list[dict[str, Any]]] = {"mails": [], "webhooks": []}
    deadline = time.monotonic() + _TOLD_SECONDS
    while time.monotonic() < deadline and not all(found.values()):
        for kind in found:
            entries = call("GET", f"{stack.sinks_url}/{kind}").json()["items"]
            found[kind] = [entry for entry in entries if job in json.dumps(entry)]
        if not all(found.values()):
            time.sleep(0.1)
    for kind, entries in found.items():
        if not entries:
            log = stack.folder.log("notifier")
            raise StackError(f"no {kind} within {_TOLD_SECONDS:.0f} s; see {log}")
    return found


def _report(
    stack: Stack, api: Api, outcome: dict[str, Any], told: dict[str, list[dict[str, Any]]]
) -> None:
    cloud, job = outcome["cloud"], outcome["job"]
    points = (job.get("result") or {}).get("points")
    rows = [("Cloud", f"{cloud['name']}, {points:,} points" if points else cloud["name"])]
    rows += [("", f"{api.url}/v1/clouds/{cloud['id']}")]
    for product in api("GET", f"/v1/clouds/{cloud['id']}/products").json()["items"]:
        rows.append(("Product", f"{product['name']:<12} {_size(product['bytes']):>9}"))
    for mail in told["mails"]:
        rows.append(("Mail", f"to {', '.join(mail['recipients'])}: {mail['subject']}"))
    verified = {True: "signature verified", False: "SIGNATURE WRONG", None: "signature not checked"}
    for hook in told["webhooks"]:
        rows.append(("Webhook", f"{hook['body'].get('type')}, {verified[hook['verified']]}"))
    picture = stack.folder.path / "preview.png"
    picture.write_bytes(api("GET", f"/v1/clouds/{cloud['id']}/products/preview").body)
    rows += [
        ("Open", f"{api.url}/docs  the API, to read and to try"),
        ("", f"{stack.sinks_url}/  the mails and webhooks that arrived"),
        ("", f"{for_people(picture)}  the preview, downloaded"),
        ("Shell", f"source {for_people(stack.env_file)}"),
        ("", f".venv/bin/pointmill get {cloud['id']} copc"),
        ("", f"the key is {stack.api_key[:11]}… in that file; mails go to {services.MEMBER}"),
    ]
    print()
    for label, text in rows:
        print(f"{label:<9} {text}")


def _size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"

"""What schemathesis cannot make up: ids of things that are there, and values that must fit each other.

Only cases that are meant to be right are touched. Everything that it makes up to be wrong is sent as
it is, and so is what an absent thing is asked for (its own ids, now and then).
"""

import itertools
import json
import os
import uuid
from pathlib import Path
from typing import Any

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation

STAGE = json.loads(os.environ["POINTMILL_STAGE"])
SEEN = Path(STAGE["seen"])
SESSION = requests.Session()
SESSION.headers["Authorization"] = f"Bearer {STAGE['key']}"
LETTERS = itertools.cycle(STAGE["letters"])
# Every so many cases keep what was made up, to see the 404.
NOW_AND_THEN = 7
COUNT = itertools.count(1)
PRINT = {"kind": "demo.print", "params": {"first": "a"}}
YEARLY = "0 0 1 1 *"
MESSAGE = {
    "specversion": "1.0",
    "id": "order-17",
    "source": "/survey/planner",
    "type": "pointmill.job.requested.v1",
    "data": {"kind": "demo.print", "params": {"first": "hello"}},
}


def make(path: str, **fields: Any) -> Any:
    answer = SESSION.post(STAGE["base"] + path, json=fields, timeout=10)
    answer.raise_for_status()
    return answer.json()


def unique() -> str:
    return uuid.uuid4().hex


def a_job(path: str) -> str:
    if "/products" in path:
        return str(STAGE["job"])
    job = str(make("/v1/jobs", **PRINT)["id"])
    if path.endswith(("/retry", "/events")):
        SESSION.post(f"{STAGE['base']}/v1/jobs/{job}/cancel", timeout=10).raise_for_status()
    return job


def a_cloud(path: str) -> str:
    return str(STAGE["cloud"] if "/products" in path else make("/v1/clouds", name="a.laz")["id"])


def a_schedule(_path: str) -> str:
    return str(make("/v1/schedules", name=unique(), **PRINT, cron=YEARLY)["id"])


def a_key(path: str) -> str:
    # There may be no more than a few hundred: only what revokes or changes one needs its own.
    return str(make("/v1/keys", name="made up", role="viewer")["id"]) if path else ""


def a_member(_path: str) -> str:
    made = make("/v1/members", name="Ada", email=f"{unique()}@example.org", role="viewer")
    return str(made["id"])


def product(path: str) -> str:
    return "tiles3d" if "{member}" in path else "info"


def signed(path: str) -> tuple[str, str]:
    """Ticket and file name of a signed link."""
    ticket, _, name = STAGE["links"][product(path)].partition("/")
    return ticket, name


REAL = {
    "project_id": lambda _: make("/v1/projects", name=unique())["id"],
    "cloud_id": a_cloud,
    "job_id": a_job,
    "schedule_id": a_schedule,
    "webhook_id": lambda _: make("/v1/webhooks", url="https://example.org/")["id"],
    "key_id": a_key,
    "member_id": a_member,
    "letter_id": lambda _: next(LETTERS),
    "workspace_id": lambda _: STAGE["workspace"],
    "kind": lambda _: "demo.print",
    "name": lambda path: signed(path)[1] if "{ticket}" in path else product(path),
    "member": lambda _: "tileset.json",
    "ticket": lambda path: signed(path)[0],
}


def is_right(case: Any, place: ParameterLocation) -> bool:
    """Whether this part of the request is meant to be right."""
    if case.meta is None or case.meta.generation.mode.is_positive:
        return True
    part = case.meta.components.get(place)
    return part is None or bool(part.mode.is_positive)


HEADERS = {"if-match": lambda: "*", "idempotency-key": unique, "prefer": lambda: "wait=1"}


@schemathesis.hook
def before_call(_context: Any, case: Any, kwargs: Any) -> None:
    mend_address(case, case.operation.path)
    if is_right(case, ParameterLocation.HEADER) and case.headers:
        for name in list(case.headers):
            if name.lower() in HEADERS:
                case.headers[name] = HEADERS[name.lower()]()
    if is_right(case, ParameterLocation.BODY):
        if isinstance(case.body, dict):
            case.body = fitting(case, case.operation.path, storable(case.body))
        elif case.media_type == "application/octet-stream":
            case.body = b"LASF"


def mend_address(case: Any, path: str) -> None:
    """Ids of what is there, and no made-up cursors and checksums."""
    if is_right(case, ParameterLocation.PATH) and case.path_parameters:
        # A link to a product without members leads to no member: that is refused, and rightly.
        whole = "/products/" not in path and "{member}" not in path
        made_up = next(COUNT) % NOW_AND_THEN == 0 and whole
        for name in case.path_parameters if not made_up else ():
            if name in REAL:
                case.path_parameters[name] = REAL[name](path)
    if is_right(case, ParameterLocation.QUERY) and case.query:
        case.query.pop("cursor", None)
        case.query.pop("crc32c", None)
        case.query = storable(case.query)


def storable(value: Any) -> Any:
    """The value as Postgres can hold it: no NUL, no integer of more than 64 bits, no bottomless nesting."""
    if isinstance(value, str):
        return value.replace("\x00", "").replace("\\u0000", "")
    if isinstance(value, dict):
        return {storable(name): storable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [storable(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return 0
    return value


FITTING: dict[str, dict[str, Any]] = {
    "/v1/schedules/preview": {"at": None, "cron": YEARLY, "timezone": "Europe/Zurich"},
    "/v1/clouds/{cloud_id}/upload-session": {"bytes": 5},
}


def fitting(case: Any, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A right body whose values fit each other and what is there, which no schema says."""
    method = case.operation.method.upper()
    if (method, path) == ("POST", "/v1/clouds"):
        if is_right(case, ParameterLocation.QUERY):
            case.query = {}
    elif (method, path) == ("POST", "/v1/jobs"):
        body.update(PRINT, cloud=None, after=[], inputs={})
    elif (method, path) == ("POST", "/v1/schedules"):
        body.update(PRINT, cloud=None, at=None, cron=YEARLY, timezone="Europe/Zurich")
    elif path in FITTING:
        body.update(FITTING[path])
    elif (method, path) == ("PATCH", "/v1/schedules/{schedule_id}"):
        body.update(params={"first": "b"}, at=None, cron=YEARLY, timezone="Europe/Zurich")
    elif path in {"/v1/jobs/cancel", "/v1/jobs/retry"}:
        body.update(kind="demo.print")
    elif path.endswith("/mend"):
        body["message"] = MESSAGE
    elif (method, path) == ("POST", "/v1/keys"):
        body.update(expires_at=None)
    return body


@schemathesis.hook
def after_call(_context: Any, case: Any, response: Any) -> None:
    with SEEN.open("a") as seen:
        seen.write(
            f"{response.status_code} {case.operation.method.upper()} {case.operation.path}\n"
        )

"""What the models of the document look like filled in: one example each, for people who read /docs.

Models that are part of another are taken from it (`Source` from `Cloud`), pages from what they list.
"""

from typing import Any

Json = dict[str, Any]
_CLOUD_ID = "01a20bc7-0b07-7966-8d2b-10fd29b40214"
_JOB_ID = "01a20bc7-0b0c-7c41-b1d5-5b6f7e0c9a31"
_PROJECT_ID = "01a20bc6-f3a1-7d02-9e64-2c8a51d07b55"
_SCHEDULE_ID = "01a20bc9-61b2-7a5f-8a0e-4f1d3e7c2b90"
_WEBHOOK_ID = "01a20bca-1c44-7e37-a1f2-90c35d86e714"
_MEMBER_ID = "01a20bca-52d8-7b13-8d40-6ea9f2705c3d"
_WORKSPACE_ID = "00000000-0000-7000-8000-000000000001"
_LETTER_ID = "01a20bcb-0397-7f68-92bb-d14c70ea8f26"
_MADE = "2026-11-24T08:30:00Z"
_LATER = "2026-11-24T08:31:12Z"
_ERROR = {
    "code": "worker_lost",
    "title": "The worker was lost",
    "detail": "Its lease ended at 08:30:45.",
    "remedy": "It is tried again by itself.",
}
_JOB: Json = {
    "id": _JOB_ID,
    "kind": "pointcloud.ingest",
    "state": "running",
    "attempt": 1,
    "params": {},
    "cloud": _CLOUD_ID,
    "priority": 0,
    "progress": {
        "stage": "build",
        "fraction": 0.4,
        "message": "tile 12 of 30",
        "eta_seconds": 41.0,
    },
    "error": _ERROR,
    "inputs": {"left": {"job": "01a20bc5-8a10-7c55-a0f4-3d2b1c0e9f87", "product": "copc"}},
    "created_at": _MADE,
    "available_at": _MADE,
    "start_by": "2026-11-25T08:30:00Z",
    "started_at": "2026-11-24T08:30:01Z",
}
_CLOUD: Json = {
    "id": _CLOUD_ID,
    "project": _PROJECT_ID,
    "name": "town.laz",
    "description": "The old town, from the air.",
    "properties": {"survey": "2026", "sensor": "airborne"},
    "state": "stored",
    "source": {"name": "town.laz", "bytes": 2_614_528, "crc32c": "9f3a01c4"},
    "job": _JOB_ID,
    "summary": {"points": 330_445},
    "version": 2,
    "created_at": _MADE,
    "updated_at": _LATER,
}
_SCHEDULE: Json = {
    "id": _SCHEDULE_ID,
    "name": "nightly",
    "kind": "demo.print",
    "params": {"first": "good night"},
    "priority": 0,
    "cron": "30 2 * * *",
    "timezone": "Europe/Zurich",
    "overlap": "skip",
    "missed": "once",
    "next_at": "2026-11-25T01:30:00Z",
    "version": 1,
    "created_at": _MADE,
    "updated_at": _MADE,
}
_WEBHOOK: Json = {"id": _WEBHOOK_ID, "url": "https://example.org/pointmill", "created_at": _MADE}
_KEY: Json = {
    "id": "0a1b2c3d",
    "name": "field laptop",
    "role": "editor",
    "operator": False,
    "created_at": _MADE,
    "created_by": "key:9f8e7d6c",
    "expires_at": "2027-11-24T08:30:00Z",
    "last_used_at": _LATER,
}
_MESSAGE: Json = {
    "specversion": "1.0",
    "id": "order-17",
    "source": "/survey/planner",
    "type": "pointmill.job.requested.v1",
    "data": {"kind": "demo.print", "params": {"first": "hello"}},
}
_LETTER: Json = {
    "id": _LETTER_ID,
    "state": "open",
    "queue": "processor.intake",
    "exchange": "pointmill.requests",
    "routing_key": "request.demo_print",
    "sender": "planner",
    "reason": "not_a_cloudevent",
    "detail": "body: Invalid JSON",
    "owner": "processor",
    "message_id": "order-17",
    "body_bytes": 5,
    "seen": 1,
    "first_seen_at": _MADE,
    "last_seen_at": _MADE,
}
_NEW_JOB: Json = {"kind": "demo.print", "params": {"first": "hello", "second": "world"}}
_ENTERED: Json = {
    "id": "019ad3f2-7c1e-7d2b-9a45-6c1f0e8b7a30",
    "name": "survey office",
    "role": "editor",
}
_PERSON: Json = {"name": "Ada", "email": "ada@example.org"}

EXAMPLES: dict[str, Json] = {
    "ApiKey": _KEY,
    "CancelFilter": {"kind": "demo.print", "state": "queued", "limit": 500},
    "Cloud": _CLOUD,
    "CloudChange": {
        "description": "Flown again.",
        "properties": {"sensor": None, "survey": "2027"},
    },
    "CloudUpload": {"cloud": _CLOUD, "job": _JOB},
    "DeadLetter": _LETTER,
    "DeadLetterDetails": {
        **_LETTER,
        "headers": {},
        "body": {"form": "text", "text": "hello", "size": 5, "whole": True},
        "acts": [{"act": "mended", "by": "key:9f8e7d6c", "note": "", "at": _LATER}],
    },
    "Discarding": {"reason": "sent by mistake"},
    "Instance": {
        "instance": "processor-7f3a",
        "service": "processor",
        "version": "0.1.0",
        "accepts": ["pointmill.job.requested.v1"],
        "kinds": ["demo.print"],
        "started_at": _MADE,
        "seen_at": _LATER,
    },
    "Job": _JOB,
    "JobBatch": {"matched": 612, "done": 500, "left": 112, "as_of": _MADE},
    "JobKind": {
        "kind": "demo.print",
        "title": "Print two words",
        "description": "Prints its two arguments into the job's log.",
        "params_schema": {"type": "object", "properties": {"first": {"type": "string"}}},
        "result_schema": {"type": "object", "properties": {"printed": {"type": "string"}}},
        "pool": "light",
        "needs_source": False,
        "inputs": [],
        "version": 1,
        "limits": {
            "attempts": 3,
            "backoff_seconds": 2.0,
            "run_seconds": 30.0,
            "start_seconds": 86_400.0,
            "total_seconds": None,
            "retry_codes": [],
            "no_retry_codes": [],
        },
        "needs": {"cores": 1, "memory_bytes": 268_435_456},
    },
    "KeyOrder": {"name": "field laptop", "role": "editor", "expires_at": "2027-11-24T08:30:00Z"},
    "KindChange": {"paused": True},
    "Member": {
        "id": _MEMBER_ID,
        "name": "Ada",
        "email": "ada@example.org",
        "role": "editor",
        "notify_by_mail": True,
        "created_at": _MADE,
    },
    "MemberChange": {"role": "viewer"},
    "Mending": {"message": _MESSAGE},
    "NewApiKey": {**_KEY, "key": "pm_0a1b2c3d_…"},
    "NewUploadSession": {"name": "town.laz", "bytes": 2_614_528},
    "UploadSession": {
        "id": "0123456789abcdef0123456789abcdef",
        "url": "https://storage.example.org/upload?upload_id=secret",
    },
    "CompletedSession": {
        "session": "0123456789abcdef0123456789abcdef",
        "name": "town.laz",
        "bytes": 2_614_528,
        "crc32c": "9f3a01c4",
    },
    "NewCloud": {"name": "town.laz", "properties": {"survey": "2026"}},
    "NewInput": {"job": _JOB_ID, "product": "copc"},
    "NewJob": _NEW_JOB,
    "NewMember": {"name": "Ada", "email": "ada@example.org", "role": "editor"},
    "NewProject": {"name": "old town", "config": {"epsg": 2056}},
    "NewSchedule": {
        "name": "nightly",
        **_NEW_JOB,
        "cron": "30 2 * * *",
        "timezone": "Europe/Zurich",
    },
    "NewSignedLink": {"seconds": 300},
    "NewWebhook": {**_WEBHOOK, "secret": "whsec_…"},
    "Preview": {"timezone": "Europe/Zurich", "times": ["2026-11-25T02:30:00+01:00"]},
    "ProblemDocument": {
        "type": "/docs/problems#invalid_request",
        "title": "The request holds values that are not allowed",
        "status": 422,
        "detail": "name: is required.",
        "code": "invalid_request",
        "remedy": "Mend the values named in `errors`.",
        "request_id": "b2467e94272a5ad1",
        "errors": [{"field": "name", "message": "is required"}],
    },
    "Product": {
        "name": "copc",
        "media_type": "application/vnd.laszip",
        "bytes": 2_801_664,
        "crc32c": "5d0c11aa",
        "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "job": _JOB_ID,
        "created_at": _LATER,
        "href": f"/v1/jobs/{_JOB_ID}/products/copc",
    },
    "Project": {
        "id": _PROJECT_ID,
        "name": "old town",
        "description": "",
        "config": {"epsg": 2056},
        "version": 1,
        "created_at": _MADE,
        "updated_at": _MADE,
    },
    "ProjectChange": {"config": {"epsg": 2056, "old": None}},
    "RetryFilter": {"error_code": "worker_lost", "limit": 500},
    "Rotation": {"grace_seconds": 86_400},
    "Schedule": {**_SCHEDULE, "last_error": _ERROR},
    "ScheduleChange": {"cron": "0 4 * * *", "timezone": "Europe/Zurich"},
    "Session": {
        "principal": "user:019ad3f2-7c1e-7d2b-9a45-6c1f0e8b7a31",
        "role": "editor",
        "operator": False,
        "workspace": _ENTERED["id"],
        "workspaces": [_ENTERED],
        "user": _PERSON,
        "expires_at": _LATER,
    },
    "SessionChange": {"workspace": _ENTERED["id"]},
    "SessionUser": _PERSON,
    "SessionWorkspace": _ENTERED,
    "SignedLink": {"href": "/v1/signed/eyJq…/town.copc.laz", "expires_at": _LATER},
    "Times": {"cron": "30 2 * * *", "timezone": "Europe/Zurich"},
    "Webhook": _WEBHOOK,
    "WebhookOrder": {"url": "https://example.org/pointmill"},
    "Workspace": {
        "id": _WORKSPACE_ID,
        "name": "default",
        "weight": 1,
        "max_running": None,
        "running": 2,
        "created_at": _MADE,
    },
    "WorkspaceChange": {"weight": 2, "max_running": 8},
}


def add_examples(schemas: dict[str, Json]) -> None:
    """Put an example to each schema of an object that has none."""
    found = {name: example for name, example in EXAMPLES.items() if name in schemas}
    for name, example in list(found.items()):
        _collect(schemas, schemas[name], example, found)
    for name, schema in schemas.items():
        listed = schema.get("properties", {}).get("items", {}).get("items", {}).get("$ref", "")
        if (item := found.get(_name_of(listed))) is not None:
            found[name] = {
                "items": [item],
                **({"next": None} if "next" in schema["properties"] else {}),
            }
    for name, example in found.items():
        schemas[name].setdefault("examples", [example])


def _collect(schemas: dict[str, Json], schema: Json, example: Any, found: dict[str, Json]) -> None:
    """Take the examples of parts out of the example of a whole."""
    for reference in _references(schema):
        part = _name_of(reference)
        if isinstance(example, dict) and part in schemas:
            found.setdefault(part, example)
            _collect(schemas, schemas[part], example, found)
    if not isinstance(example, dict):
        return
    for name, value in example.items():
        member = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if isinstance(member, dict):
            values = value if isinstance(value, list) else [value]
            inner = member.get("items", member) if isinstance(value, list) else member
            for one in values:
                _collect(schemas, inner, one, found)


def _references(schema: Json) -> list[str]:
    choices = [schema, *schema.get("anyOf", ())]
    return [choice["$ref"] for choice in choices if "$ref" in choice]


def _name_of(reference: str) -> str:
    return reference.rpartition("/")[2]

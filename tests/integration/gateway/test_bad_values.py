"""Bad values in right requests: keys, names, JSON, parameters, metadata. Each has its expected answer."""

import json
import uuid
from typing import Any

import pytest

from tests.integration.gateway.conftest import Running

JSON = {"Content-Type": "application/json"}
INVALID, MALFORMED = (422, "invalid_request"), (400, "malformed_json")


def cloud(properties: bytes) -> bytes:
    return b'{"name": "bad", "properties": ' + properties + b"}"


BODIES: dict[str, tuple[bytes, tuple[int, str]]] = {
    "33 UTF-16": ('{"name": "a"}'.encode("utf-16"), MALFORMED),
    "34 invalid UTF-8": (b'{"name": "\xff"}', MALFORMED),
    "35 a lone surrogate": (b'{"name": "\\ud800"}', MALFORMED),
    "36 sixty thousand brackets": (cloud(b"[" * 60_000), MALFORMED),
    "38 NaN": (cloud(b'{"a": NaN}'), INVALID),
    "38 Infinity": (cloud(b'{"a": -Infinity}'), INVALID),
    "38 1e999": (cloud(b'{"a": 1e999}'), INVALID),
    "39 an integer of 5,000 digits": (cloud(b'{"a": ' + b"9" * 5000 + b"}"), MALFORMED),
    "39 an integer of 65 bits": (cloud(b'{"a": 18446744073709551616}'), INVALID),
    "40 ten megabytes": (cloud(b'{"a": "' + b"x" * 10_000_000 + b'"}'), (413, "body_too_large")),
    "41 an unknown field": (b'{"name": "a", "__proto__": {"admin": true}}', INVALID),
    "42 NUL in a name": (b'{"name": "a\\u0000"}', INVALID),
    "42 NUL in metadata": (cloud(b'{"a": ["\\u0000"]}'), INVALID),
    "115 a depth of a hundred": (cloud(b'{"a":' * 100 + b"1" + b"}" * 100), INVALID),
    "no JSON": (b"name=a", MALFORMED),
    "a list": (b"[]", INVALID),
    "a name of spaces": (b'{"name": "   "}', INVALID),
    "a boolean as text": (b'{"name": true}', INVALID),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_refused_in_words(running: Running, name: str) -> None:
    body, expected = BODIES[name]
    answer = await running.api("POST", "/v1/clouds", data=_pieces(body), headers=JSON)
    assert answer.problem[:2] == expected
    assert len(answer.body) < 5000, "what was sent is not sent back"


async def _pieces(body: bytes) -> Any:
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


METADATA: dict[str, Any] = {
    "37 of two members of a name the last counts": {"a": 2},
    "114 ten thousand keys": {f"key{number}": number for number in range(10_000)},
    "116 keys that mean something elsewhere": {"": 1, "$": 2, "$ne": 3, "a.b": 4, "__proto__": {"x": 1}},
    "117 HTML": {"a": "<script>alert(1)</script>"},
    "118 templates": {"a": "{{7*7}} {0.__class__} ${jndi:ldap://x} %s"},
    "119 formulas": {"a": "=cmd|' /C calc'!A0"},
    "120 a string of nearly a megabyte": {"a": "x" * 1_000_000},
    "121 lines and escapes": {"a": "\r\nINFO forged=1 \x1b[31m\x1b]0;owned\x07"},
    "emoji and every plane": {"a": "👩‍🚀 \U0010ffff \u202e"},
}  # fmt: skip


@pytest.mark.parametrize("name", METADATA)
async def test_metadata_come_back_as_they_were_sent(
    running: Running, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps({"name": "odd", "properties": METADATA[name]})
    if name.startswith("37"):
        text = '{"name": "odd", "properties": {"a": 1, "a": 2}}'
    made = await running.api("POST", "/v1/clouds", data=text.encode(), headers=JSON)
    assert made.status == 201, made.body
    read = await running.api("GET", made.headers["Location"])
    assert read.json["properties"] == METADATA[name]
    assert read.headers["Content-Type"] == "application/json"
    assert read.headers["X-Content-Type-Options"] == "nosniff"
    logged = capsys.readouterr()
    assert "forged" not in logged.out + logged.err
    await running.api("DELETE", made.headers["Location"])


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../../etc/passwd.laz", 422),
        ("..%2f..%2fetc.laz", 201),  # the name of a file, no path: it is never one
        ("a" * 5000 + ".laz", 422),
        ("a\r\nSet-Cookie: x.laz", 422),
        ("\u202ezal.exe.laz", 422),
        ("🛰️.laz", 201),
        ("....", 422),
        ("a\x00.laz", 422),
        ("C:\\evil.laz", 422),
    ],
)
async def test_a_files_name_is_a_name_and_no_path(running: Running, name: str, status: int) -> None:
    """11, 12, 13."""
    answer = await running.api("POST", "/v1/clouds", params={"name": name}, data=b"LASF")
    assert answer.status == status, answer.body
    if status == 201:
        assert answer.json["cloud"]["name"] == name
        inside = [path for path in running.stored() if "etc" in path.name or "passwd" in path.name]
        assert inside == [], "objects have names of our own"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=-1", "invalid_request"),
        ("limit=0", "invalid_request"),
        ("limit=1000000000", "invalid_request"),
        ("limit=9" + "9" * 400, "invalid_request"),
        ("cursor=AAAA", "invalid_cursor"),
        ("cursor=" + "A" * 32, None),
        ("cursor=________________________________", None),
        ("cursor=%00", "invalid_request"),
        ("cursor=" + "A" * 5000, "invalid_request"),
        ("limit=1&limit=2", "invalid_request"),
        ("project=1 or 1=1", "invalid_request"),
        ("state=gone", "invalid_request"),
    ],
)
async def test_a_bad_parameter_of_a_list_is_refused(
    running: Running, query: str, code: str | None
) -> None:
    """43."""
    answer = await running.api("GET", f"/v1/clouds?{query}")
    assert answer.status == (200 if code is None else 422)
    if code is not None:
        assert answer.problem[1] == code


KEYS = {
    "1 none": None,
    "2 malformed": "Bearer",
    "2 another scheme": "Basic cG06cG0=",
    "3 a wrong checksum": "Bearer pm_0a1b2c3d_" + "0" * 48 + "_00000000",
    "9 of 7,000 characters": "Bearer " + "a" * 7000,
    "two": "Bearer a, Bearer b",
}


@pytest.mark.parametrize("name", KEYS)
async def test_what_is_no_key_opens_nothing(running: Running, name: str) -> None:
    value = KEYS[name]
    headers = {} if value is None else {"Authorization": value}
    answer = await running.nobody("GET", "/v1/kinds", headers=headers)
    assert answer.problem == (401, "unauthorized", [])


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data", ""])
async def test_a_body_of_another_type_is_refused(running: Running, media_type: str) -> None:
    """32, 61: there is no multipart here, with a boundary or without."""
    headers = {"Content-Type": media_type}
    answer = await running.api("POST", "/v1/projects", data=b"{}", headers=headers)
    assert answer.problem == (415, "unsupported_media_type", ["Content-Type"])


@pytest.mark.parametrize("key", ["", "x" * 300, "a b", "ä", "a\tb"])
async def test_an_idempotency_key_has_a_form(running: Running, key: str) -> None:
    """46."""
    headers = {"Idempotency-Key": key}
    answer = await running.api("POST", "/v1/projects", json={"name": "a"}, headers=headers)
    assert answer.problem == (422, "invalid_request", ["Idempotency-Key"])


@pytest.mark.parametrize("last", ["-1", "garbage", "1e9", "99999999999999999999", "\u0661"])
async def test_a_last_event_id_that_is_none_is_refused(running: Running, last: str) -> None:
    """50."""
    job = await running.api.make("/v1/jobs", kind="demo.print", params={"first": "a"})
    path = f"/v1/jobs/{job['id']}"
    await running.api("POST", f"{path}/cancel")
    answer = await running.api("GET", f"{path}/events", headers={"Last-Event-ID": last})
    assert answer.problem == (422, "invalid_request", ["Last-Event-ID"])


async def test_events_of_the_future_are_waited_for_by_nobody(running: Running) -> None:
    """50: the job has ended, so there is nothing to wait for."""
    job = await running.api.make("/v1/jobs", kind="demo.print", params={"first": "a"})
    path = f"/v1/jobs/{job['id']}"
    await running.api("POST", f"{path}/cancel")
    answer = await running.api("GET", f"{path}/events", headers={"Last-Event-ID": "999999999"})
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "identifier", ["1", "..", "%2e%2e%2fkeys", "'; drop table jobs; --", "\u202e", "0" * 36]
)
async def test_an_id_that_is_none_names_nothing(running: Running, identifier: str) -> None:
    answer = await running.api("GET", f"/v1/jobs/{identifier}")
    assert answer.status in {404, 422}
    assert (await running.api("GET", f"/v1/jobs/{uuid.uuid4()}")).status == 404

"""What the mails say."""

from typing import Any
from uuid import UUID

import pytest

from services.notifier.letter import (
    Facts,
    Letter,
    Product,
    compose,
    one_line,
    read_duration,
    read_size,
    write_html,
    write_text,
)
from shared.messages import Message
from shared.messages.jobs import (
    JobCancelledV1,
    JobError,
    JobFailedV1,
    JobQueuedV1,
    JobSucceededV1,
)

JOB = UUID("01900000-0000-7000-8000-000000000001")
CLOUD = UUID("01900000-0000-7000-8000-000000000002")
EVENT = UUID("01900000-0000-7000-8000-000000000003")
ABOUT: dict[str, Any] = {
    "job_id": JOB,
    "workspace_id": UUID(int=1),
    "cloud_id": CLOUD,
    "kind": "pointcloud.ingest",
    "attempt": 1,
    "requested_by": "key",
}
FACTS = Facts(
    workspace="default",
    cloud_name="town.laz",
    source_bytes=4_212_345,
    kind_title="Mill a point cloud",
    seconds=12.3,
    products=[Product("copc", "application/octet-stream", 5_100_000)],
)


def letter(message: Message, facts: Facts = FACTS) -> Letter:
    return compose(message, facts, EVENT, "https://mill.example.org")


def succeeded(**changed: Any) -> JobSucceededV1:
    return JobSucceededV1(
        **{**ABOUT, "state": "succeeded", "result": {"points": 1_234_567}, **changed}
    )


def failed(**error: str) -> JobFailedV1:
    return JobFailedV1(**ABOUT, state="failed", error=JobError(**error))


def test_a_milled_cloud_reads_like_this() -> None:
    written = letter(succeeded())
    assert written.subject == "Milled: town.laz"
    assert write_text(written) == (
        """town.laz is milled

Its 1,234,567 points (4.2 MB) took 12 s.

Products (the links ask for your API key)
  copc   5.1 MB  https://mill.example.org/v1/jobs/01900000-0000-7000-8000-000000000001/products/copc

At a shell:
  pointmill get 01900000-0000-7000-8000-000000000002 copc

-- 
Job 01900000-0000-7000-8000-000000000001 (pointcloud.ingest, attempt 1)
Cloud 01900000-0000-7000-8000-000000000002
https://mill.example.org/v1/jobs/01900000-0000-7000-8000-000000000001
Event 01900000-0000-7000-8000-000000000003: should this mail come twice, both copies name the same event.
You get it as a member of the workspace default.
"""  # noqa: W291 - the mark of a mail's footer ends with a blank
    )


def test_a_failure_says_what_happened_and_what_to_do() -> None:
    written = letter(
        failed(
            code="not_las",
            title="The file is not a LAS file",
            detail="It is a ZIP.",
            remedy="Unpack it.",
        )
    )
    assert written.subject == "Failed: town.laz - The file is not a LAS file"
    assert written.sections == [
        ("What happened", ["The file is not a LAS file", "It is a ZIP."]),
        ("What you can do", ["Unpack it."]),
        ("Code", ["not_las"]),
    ]


def test_a_failure_that_knows_only_its_code_still_makes_a_letter() -> None:
    written = letter(failed(code="worker_lost"))
    assert written.subject == "Failed: town.laz - worker_lost"


def test_another_kind_is_named_with_its_title_and_shows_its_plain_results() -> None:
    message = succeeded(
        kind="file.checksum", result={"crc32c": "deadbeef", "parts": [1], "all_read": True}
    )
    written = letter(message, Facts("default", "town.laz", 9, "Checksum of a file", 75))
    assert written.subject == "Done: town.laz (Checksum of a file)"
    assert written.summary == "It took 1 min 15 s."
    assert written.sections == [("Result", ["crc32c: deadbeef", "all read: True"])]


def test_a_cancelled_job_that_never_ran_has_no_attempt() -> None:
    written = letter(JobCancelledV1(**{**ABOUT, "attempt": 0, "cloud_id": None, "kind": "demo.print"}, state="cancelled"), Facts("default"))  # fmt: skip
    assert written.subject == "Cancelled: demo.print"
    assert written.footer[0] == f"Job {JOB} (demo.print)"


def test_an_event_that_ends_nothing_makes_no_letter() -> None:
    with pytest.raises(TypeError):
        letter(JobQueuedV1(**ABOUT, state="queued"))


def test_nothing_a_user_has_written_is_taken_for_html() -> None:
    nasty = '<script>alert("1")</script>&{{7*7}}'
    facts = Facts(nasty, nasty, 1, nasty, 1, [Product(nasty, "x", 1)])
    for message in (
        failed(code=nasty, title=nasty, detail=nasty, remedy=nasty),
        succeeded(),
        succeeded(kind="demo.print", result={nasty: nasty}),
    ):
        html = write_html(letter(message, facts))
        assert "<script" not in html
        assert "&lt;script&gt;" in html
        assert "{{7*7}}" in html


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\r\nlines", "two lines"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("evil\u202egpj.exe", "evil gpj.exe"),
        ("  much   room ", "much room"),
        ("größe 点云", "größe 点云"),
        ("x" * 30, "x" * 19 + "…"),
        ("", ""),
    ],
)
def test_a_name_becomes_one_printable_line(text: str, line: str) -> None:
    assert one_line(text, 20) == line


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9950, "10 kB"), (999_499, "999 kB"),
     (999_500, "1.0 MB"), (4_212_345, "4.2 MB"), (10**12, "1.0 TB"), (10**18, "1000 PB")],
)  # fmt: skip
def test_sizes_are_said_in_decimal_units(size: int, text: str) -> None:
    assert read_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.1 s"), (1.25, "1.2 s"), (9.96, "10 s"), (59.6, "1 min"), (75, "1 min 15 s"),
     (3600, "1 h"), (3725, "1 h 2 min")],
)  # fmt: skip
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert read_duration(seconds) == text

"""Which bytes a Range header asks for, by RFC 9110."""

import pytest

from services.gateway.problems import Problem
from services.gateway.ranges import MOST, Span, spans


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("BYTES=5-", [(5, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("bytes=0-1, 4-5", [(0, 2), (4, 6)]),
        ("bytes=0-1,2-3", [(0, 2), (2, 4)]),
        ("bytes=0-1,90-99", [(0, 2)]),
        (
            "bytes=" + ",".join(f"{at}-{at}" for at in range(MOST)),
            [(at, at + 1) for at in range(10)],
        ),
    ],
)
def test_ranges_that_can_be_served_are(header: str, expected: list[Span]) -> None:
    assert spans(header, 10) == expected


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=3-2", "bytes=1"),
        *("bytes=0-5,3-7", "bytes=5-6,0-1", "bytes=0-1,,4-5", "bytes=0-1,x", "bytes=1-2-3"),
        "bytes=" + ",".join(["0-0"] * (MOST + 1)),
        "bytes=0-" + "9" * 30,
    ],
)
def test_what_makes_no_sense_or_too_much_work_is_the_whole(header: str | None) -> None:
    assert spans(header, 10) == []


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_ranges_without_a_byte_are_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(Problem) as refused:
        spans(header, size)
    assert refused.value.headers == {"Content-Range": f"bytes */{size}"}

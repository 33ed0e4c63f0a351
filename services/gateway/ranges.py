"""Which bytes a request asks for (RFC 9110 section 14): pure, no I/O.

What makes no sense, or is more than anybody needs at once, is ignored, as the RFC lets a server do:
the answer is then the whole. Several ranges are taken as they come if they ascend and do not
overlap, `MOST` at most, so that an answer is never larger than the whole and a little.
"""

import re
from itertools import pairwise

from services.gateway.problems import RANGE_NOT_SATISFIABLE, Problem

MOST = 16
_RANGES = re.compile(r"bytes=(.+)", re.IGNORECASE)
_RANGE = re.compile(r"(\d{0,18})-(\d{0,18})")

Span = tuple[int, int]
"""First byte and the one after the last."""


def spans(header: str | None, size: int) -> list[Span]:
    """The spans that a Range header asks of so many bytes; none: all of them.

    Raises:
        Problem: `range_not_satisfiable`, when none of the ranges has a byte.
    """
    match = _RANGES.fullmatch(header.strip()) if header else None
    if match is None:
        return []
    asked = [_RANGE.fullmatch(part.strip(" \t")) for part in match[1].split(",")]
    if len(asked) > MOST:
        return []
    found: list[Span] = []
    for one in asked:
        if one is None or one[0] == "-" or (one[1] and one[2] and int(one[2]) < int(one[1])):
            return []
        span = _span(one[1], one[2], size)
        if span[0] < span[1]:
            found.append(span)
    if not found:
        raise Problem(
            RANGE_NOT_SATISFIABLE,
            f"The file has {size} bytes.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    if any(after[0] < before[1] for before, after in pairwise(found)):
        return []
    return found


def content_range(span: Span, size: int) -> str:
    """The value of the Content-Range header for a span."""
    return f"bytes {span[0]}-{span[1] - 1}/{size}"


def _span(first: str, last: str, size: int) -> Span:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)

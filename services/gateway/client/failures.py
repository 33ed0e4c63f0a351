"""What can go wrong between a person and the server, each with a code and what to do about it."""

import json
from typing import Any

# Answers that may be better in a moment: the body was cut or slow, or a part of the server is away.
PASSING_STATUSES = frozenset({408, 429, 502, 503, 504})
PASSING_CODES = frozenset({"body_cut", "idempotency_key_in_use"})


class Failure(Exception):
    """Something a person is told in one sentence; its fields are those of the API's own errors."""

    # Whether the same request may succeed later without any change.
    passing = False

    def __init__(self, code: str, title: str, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.code = code
        self.title = title
        self.detail = detail
        self.remedy = remedy

    def to_dict(self) -> dict[str, Any]:
        """The failure as it stands in the documents of `--json`."""
        return {
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "remedy": self.remedy,
        }


class Unreachable(Failure):
    """No answer came: refused, cut or too late. The request may or may not have been carried out."""

    passing = True

    def __init__(self, detail: str) -> None:
        super().__init__(
            "unreachable",
            "The server does not answer",
            detail,
            "Check POINTMILL_URL and that the server runs (`make up` starts a local one).",
        )


class Refused(Failure):
    """The server answered, and the answer is no.

    Attributes:
        status: the HTTP status of the answer.
    """

    def __init__(self, status: int, code: str, title: str, detail: str, remedy: str) -> None:
        super().__init__(code, title, detail, remedy)
        self.status = status
        self.passing = status in PASSING_STATUSES or code in PASSING_CODES

    @classmethod
    def of(cls, status: int, reason: str, body: bytes) -> "Refused":
        """The refusal that a problem document (RFC 9457) tells, or whatever came in its place."""
        try:
            problem = json.loads(body)
        except ValueError:
            problem = None
        if not isinstance(problem, dict) or not isinstance(problem.get("code"), str):
            return cls._of_stranger(status, reason)
        detail = str(problem.get("detail") or problem.get("title") or reason)
        if status >= 500 and (request_id := problem.get("request_id")):
            detail = f"{detail.rstrip('.')}; request {request_id}."
        return cls(
            status,
            problem["code"],
            str(problem.get("title") or reason),
            detail,
            str(problem.get("remedy") or ""),
        )

    @classmethod
    def _of_stranger(cls, status: int, reason: str) -> "Refused":
        title = f"The answer was {status} {reason}".rstrip()
        remedy = (
            "Try again in a moment."
            if status in PASSING_STATUSES
            else "Check that POINTMILL_URL is the address of a Pointmill server."
        )
        return cls(status, f"http_{status}", title, f"{title}.", remedy)


def unexpected(url: str, what: str) -> Failure:
    """The server answered with something that no Pointmill server says."""
    return Failure(
        "unexpected_answer",
        "The answer is not one of a Pointmill server",
        f"{url} answered {what}.",
        "Check that POINTMILL_URL is the address of a Pointmill server.",
    )

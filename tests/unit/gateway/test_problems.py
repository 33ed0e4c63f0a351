"""The table of problems: each code once, each told on the page."""

from collections import Counter
from http import HTTPStatus

from services.gateway.problems import BY_CODE, TABLE, Problem
from services.gateway.routes.docs import problems_page
from shared import errors


def test_each_code_appears_once() -> None:
    assert [code for code, count in Counter(kind.code for kind in TABLE).items() if count > 1] == []


def test_each_line_says_what_happened_and_what_to_do() -> None:
    page = problems_page()
    for kind in TABLE:
        assert HTTPStatus(kind.status) >= HTTPStatus.BAD_REQUEST
        assert not kind.title.endswith(".")
        assert kind.remedy.endswith(".")
        assert f'id="{kind.code}"' in page


def test_errors_from_below_keep_their_code_and_unlisted_ones_do_not_leak() -> None:
    told = Problem.of(errors.StorageUnavailable("The bucket answers 500."))
    assert (told.code, told.status, told.detail) == (
        "storage_unavailable",
        503,
        "The bucket answers 500.",
    )
    untold = Problem.of(errors.ObjectExists("key of ours"))
    assert (untold.code, untold.status) == ("internal_error", 500)
    assert "key of ours" not in untold.detail


def test_what_can_be_away_is_listed() -> None:
    known: list[type[errors.PointmillError]] = [errors.Unavailable, errors.ObjectTooLarge]
    for error in (*known, *errors.Unavailable.__subclasses__()):
        assert error.code in BY_CODE

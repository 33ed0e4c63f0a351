from datetime import UTC, datetime

import pytest

from services.gateway.client import wording
from services.gateway.client.api import Document


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (61_500_000, "61.5 MB"),
        (999_960_000, "1.0 GB"),
        (3 * 10**15, "3000.0 TB"),
    ],
)
def test_bytes_are_told_in_decimal_units(count: int, told: str) -> None:
    assert wording.size(count) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (9.4, "9.4 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_spans_are_told_in_two_units_at_most(seconds: float, told: str) -> None:
    assert wording.duration(seconds) == told


def test_text_of_others_cannot_steer_the_terminal() -> None:
    told = wording.plain("a\x1b[31mred\u202e\nb")
    assert told == "a�[31mred��b"


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ("2026-11-24T04:02:57.5Z", "2 s"),
        ("2026-11-24T03:57:01Z", "5 min"),
        ("2026-11-24T02:03:00Z", "2 h"),
        ("2026-11-20T02:03:00Z", "4 d"),
        ("2026-11-24T04:03:09Z", "0 s"),
    ],
)
def test_an_age_is_told_in_one_unit(then: str, told: str) -> None:
    assert wording.age(then, datetime(2026, 11, 24, 4, 3, tzinfo=UTC)) == told


def test_a_failed_job_is_told_with_code_and_remedy() -> None:
    error = {"code": "not_las", "detail": "No LAS file.", "remedy": "Send one."}
    told = wording.how_it_ended({"state": "failed", "error": error})
    assert told == "failed: No LAS file (not_las). Send one."


def test_a_running_job_is_told_with_its_stage() -> None:
    job: Document = {"state": "running", "progress": {"stage": "build", "fraction": 0.405}}
    assert wording.how_it_ended(job) == "running, build 40 %"
    job["progress"]["eta_seconds"] = 12.3
    assert wording.how_it_ended(job) == "running, build 40 %, about 12 s left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (89, "89 s"), (95, "2 min"), (3599, "60 min"), (7000, "2 h")],
)
def test_what_is_left_is_said_no_more_exactly_than_it_is_known(seconds: float, words: str) -> None:
    assert wording.left(seconds) == f"about {words} left"


@pytest.mark.parametrize(
    ("source", "product", "media_type", "name"),
    [
        ("town.laz", "copc", "application/vnd.laszip+copc", "town.copc.laz"),
        ("town.copc.laz", "copc", "application/vnd.laszip+copc", "town.copc.laz"),
        ("TOWN.LAS", "preview", "image/png", "TOWN.preview.png"),
        ("town.laz", "tiles3d", "application/vnd.maxar.archive.3tz+zip", "town.tiles3d.3tz"),
        ("town.laz", "item", "application/geo+json", "town.item.json"),
        ("../../.ssh/keys", "info", "application/json", "keys.info.json"),
        ("..\\a\x1b.las", "certificate", "made/up", "a�.certificate"),
    ],
)
def test_a_product_is_saved_under_the_name_of_its_source(
    source: str, product: str, media_type: str, name: str
) -> None:
    cloud = {"id": "c", "name": "n", "source": {"name": source}}
    assert wording.file_name(cloud, {"name": product, "media_type": media_type}) == name

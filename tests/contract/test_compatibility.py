"""Today's messages can be read by, and can come from, the services of the last release."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.messages import CATALOGUE, read_data, read_envelope
from shared.messages.publish import schema_of
from tests.contract.compatibility import breaks, published

PUBLISHED = published()
EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.json"))
Json = dict[str, Any]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_message_has_only_gained_optional_fields(name: str) -> None:
    assert name in CATALOGUE, f"{name} was published; only a later release may take it out"
    assert breaks(PUBLISHED[name], schema_of(name)) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_a_golden_message_fits_what_was_published_and_is_still_read(path: Path) -> None:
    document = json.loads(path.read_text())
    if document["type"] in PUBLISHED:
        Draft202012Validator(PUBLISHED[document["type"]]).validate(document["data"])
    assert document["type"] == read_data(read_envelope(path.read_bytes())).TYPE


def test_every_published_message_has_a_golden_one() -> None:
    kept = {json.loads(path.read_text())["type"] for path in EXAMPLES}
    assert PUBLISHED.keys() <= kept


def add_optional(schema: Json) -> None:
    schema["properties"]["added"] = {
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "default": None,
    }


def add_to_a_part(schema: Json) -> None:
    schema["$defs"]["JobError"]["properties"]["hint"] = {"type": "string", "default": ""}


def reword(schema: Json) -> None:
    schema["title"], schema["description"] = "Other", "Other words."
    schema["properties"]["kind"]["description"] = "Other words."


def rename_a_part(schema: Json) -> None:
    schema["$defs"]["Trouble"] = schema["$defs"].pop("JobError")
    schema["properties"]["error"]["$ref"] = "#/$defs/Trouble"


@pytest.mark.parametrize("change", [add_optional, add_to_a_part, reword, rename_a_part])
def test_what_breaks_nobody_is_let_pass(change: Callable[[Json], None]) -> None:
    old = PUBLISHED["pointmill.job.failed.v1"]
    new = copy.deepcopy(old)
    change(new)
    assert new != old
    assert breaks(old, new) == []


def remove(schema: Json) -> None:
    del schema["properties"]["kind"]


def rename(schema: Json) -> None:
    schema["properties"]["sort"] = schema["properties"].pop("kind")


def retype(schema: Json) -> None:
    schema["properties"]["attempt"]["type"] = "string"


def widen(schema: Json) -> None:
    schema["properties"]["attempt"] = {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def require(schema: Json) -> None:
    add_optional(schema)
    schema["required"].append("added")


def require_what_was_optional(schema: Json) -> None:
    schema["required"].append("cloud_id")


def require_no_more(schema: Json) -> None:
    schema["required"].remove("kind")


def narrow(schema: Json) -> None:
    schema["properties"]["kind"]["maxLength"] = 10


def reformat(schema: Json) -> None:
    schema["properties"]["job_id"]["format"] = "date-time"


def turn_a_choice(schema: Json) -> None:
    schema["properties"]["cloud_id"]["anyOf"][0] = {"type": "integer"}


def remove_from_a_part(schema: Json) -> None:
    del schema["$defs"]["JobError"]["properties"]["remedy"]


def require_in_a_part(schema: Json) -> None:
    schema["$defs"]["JobError"]["required"].append("title")


def close(schema: Json) -> None:
    schema["additionalProperties"] = False


@pytest.mark.parametrize(
    "violation",
    [
        remove, rename, retype, widen, require, require_what_was_optional, require_no_more, narrow, reformat,
        turn_a_choice, remove_from_a_part, require_in_a_part, close,
    ],
)  # fmt: skip
def test_a_planted_violation_is_caught(violation: Callable[[Json], None]) -> None:
    old = PUBLISHED["pointmill.job.failed.v1"]
    new = copy.deepcopy(old)
    violation(new)
    assert breaks(old, new)


@pytest.mark.parametrize(
    ("before", "now", "may_grow", "broken"),
    [
        (["a", "b"], ["a", "b", "c"], True, 0),
        (["a", "b"], ["b", "a"], False, 0),
        (["a", "b"], ["a", "b", "c"], False, 1),
        (["a", "b"], ["a"], True, 1),
        (["a", "b"], ["a"], False, 1),
        (["a", "b"], ["a", "c"], True, 1),
    ],
)
def test_an_enum_grows_only_where_that_was_said(
    before: list[str], now: list[str], may_grow: bool, broken: int
) -> None:
    def schema(values: list[str]) -> Json:
        field = {"enum": values, **({"x-may-grow": True} if may_grow else {})}
        return {"type": "object", "properties": {"word": field}}

    assert len(breaks(schema(before), schema(now))) == broken


def test_an_enum_cannot_be_said_to_grow_only_when_it_does() -> None:
    old = {"properties": {"word": {"enum": ["a"]}}}
    new = {"properties": {"word": {"enum": ["a", "b"], "x-may-grow": True}}}
    assert breaks(old, new)

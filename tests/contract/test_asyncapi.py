"""The AsyncAPI document is valid by the specification's own schema, and says what is true of the bus."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from shared import topology
from shared.asyncapi import CHANNELS, build_document
from shared.messages import CATALOGUE
from shared.outbox import doorbell
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database

CHECKOUT = Path(__file__).parents[2]
OFFICIAL = (
    CHECKOUT / "tests/browser/node_modules/@asyncapi/specs/schemas" / "3.0.0-without-$id.json"
)
EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.json"))
DOCUMENT = build_document("1.2.3")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    if not OFFICIAL.exists():
        pytest.skip("`make test` installs the schemas of AsyncAPI (npm ci in tests/browser)")
    return Draft7Validator(json.loads(OFFICIAL.read_text()))


def test_the_document_is_valid_by_the_official_schema(official: Draft7Validator) -> None:
    errors = [f"{list(e.absolute_path)}: {e.message[:200]}" for e in official.iter_errors(DOCUMENT)]
    assert errors == []


def _version(document: Json) -> None:
    document["asyncapi"] = "4.0.0"


def _action(document: Json) -> None:
    document["operations"]["requests"]["action"] = "publish"


def _no_channel(document: Json) -> None:
    del document["operations"]["requests"]["channel"]


def _exchange_type(document: Json) -> None:
    document["channels"]["requests"]["bindings"]["amqp"]["exchange"]["type"] = "tropical"


def _unknown_member(document: Json) -> None:
    document["components"]["messages"]["pointmill.job.queued.v1"]["playload"] = {}


def _no_title(document: Json) -> None:
    del document["info"]["title"]


@pytest.mark.parametrize(
    "mistake", [_version, _action, _no_channel, _exchange_type, _unknown_member, _no_title]
)
def test_the_official_schema_catches_a_planted_mistake(
    official: Draft7Validator, mistake: Callable[[Json], None]
) -> None:
    document = copy.deepcopy(DOCUMENT)
    mistake(document)
    assert not official.is_valid(document)


def test_every_message_is_said_in_exactly_one_channel() -> None:
    said = [message.TYPE for channel in CHANNELS.values() for message in channel.messages]
    assert sorted(said) == sorted(CATALOGUE)
    assert DOCUMENT["components"]["messages"].keys() == CATALOGUE.keys()


def test_every_exchange_but_those_of_the_broker_is_described() -> None:
    described = {channel.exchange for channel in CHANNELS.values()}
    assert described == topology.EXCHANGES.keys() - {topology.DEAD, topology.UNROUTED}


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_what_pointmill_sends_one_of_its_services_may_write(name: str) -> None:
    channel = CHANNELS[name]
    writers = {
        user for user, access in topology.USERS.items() if re.search(access.write, channel.exchange)
    }
    assert bool(writers) != channel.receives


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 30
    for reference in found:
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def fits(message: Json) -> bool:
    payload = DOCUMENT["components"]["messages"][message["type"]]["payload"]
    schema = {**payload, "components": DOCUMENT["components"]}
    return Draft7Validator(schema).is_valid(message)


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_a_golden_message_is_what_the_document_says(path: Path) -> None:
    message = json.loads(path.read_text())
    assert fits(message)
    for broken in (
        {**message, "data": {}},
        {**message, "specversion": "0.3"},
        {name: value for name, value in message.items() if name != "id"},
    ):
        assert not fits(broken)


async def test_what_the_database_says_goes_where_the_document_says(database: Database) -> None:
    async with database.connected("gateway") as gateway:
        async with gateway.transaction():
            await gateway.execute("select enter_workspace($1)", DEFAULT_WORKSPACE)
            cloud = await gateway.fetchval(
                "insert into clouds (workspace_id, name) values ($1, 'c') returning id",
                DEFAULT_WORKSPACE,
            )
        await gateway.fetch(
            "select finish_upload($1, $2, 'a.laz', 'k', 1, '00000000', '{}', 'key:x', null)",
            DEFAULT_WORKSPACE,
            cloud,
        )
    async with database.connected() as connection:
        rows = await connection.fetch(
            "select exchange, routing_key, message::text, rings from outbox order by id"
        )
    assert [row["rings"] for row in rows] == [None, "default"]
    told = [(row["exchange"], row["routing_key"], json.loads(row["message"])) for row in rows]
    bell = doorbell("default", told[1][2], "gateway")
    for exchange, key, message in [*told, (bell.exchange, bell.routing_key, bell.message)]:
        assert fits(message)
        channel = next(
            channel
            for channel in CHANNELS.values()
            if message["type"] in {class_.TYPE for class_ in channel.messages}
        )
        assert exchange == channel.exchange
        pattern = re.sub(r"\\{\w+\\}", "[^.]+", re.escape(channel.address or ""))
        assert re.fullmatch(pattern, key)

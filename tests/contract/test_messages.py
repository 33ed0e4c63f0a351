"""What is said on the bus stays readable: published schemas, kept examples, and what SQL writes."""

import json
from pathlib import Path

import pytest

from shared.messages import CATALOGUE, Unreadable, read_data, read_envelope
from shared.messages.publish import SCHEMAS, schema_of
from sql.bootstrap import DEFAULT_WORKSPACE
from tests.fixtures.database import Database

EXAMPLES = Path(__file__).parent / "examples"


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_the_published_schema_is_that_of_the_class(name: str) -> None:
    published = json.loads((SCHEMAS / f"{name}.json").read_text())
    assert published == schema_of(name), "run make contracts and review the difference"


def test_no_published_schema_has_lost_its_class() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(CATALOGUE)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_message_as_once_published_is_still_read(name: str) -> None:
    examples = sorted(EXAMPLES.glob(f"{name}*.json"))
    assert examples, f"keep an example of {name}"
    for example in examples:
        message = read_data(read_envelope(example.read_bytes()))
        assert isinstance(message, CATALOGUE[name])


def test_an_unknown_field_is_ignored_and_an_unknown_version_is_named() -> None:
    example = json.loads((EXAMPLES / "pointmill.job.queued.v1.json").read_text())
    example["data"]["added_later"] = True
    example["addedattribute"] = "x"
    read_data(read_envelope(json.dumps(example).encode()))
    example["type"] = "pointmill.job.queued.v99"
    with pytest.raises(Unreadable) as caught:
        read_data(read_envelope(json.dumps(example).encode()))
    assert caught.value.reason == "unsupported_version"
    example["type"] = "somebody.else.v1"
    with pytest.raises(Unreadable) as caught:
        read_data(read_envelope(json.dumps(example).encode()))
    assert caught.value.reason == "unknown_type"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_a_cloudevent"),
        (b"[1]", "not_a_cloudevent"),
        (b"{", "not_a_cloudevent"),
        (b'{"specversion":"1.0"}', "not_a_cloudevent"),
        (b" " * 70_000, "too_large"),
    ],
)
def test_what_is_no_cloudevent_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_envelope(body)
    assert caught.value.reason == reason


async def test_every_message_that_the_database_writes_is_one_of_the_catalogue(
    database: Database,
) -> None:
    """The moves of a job write their own messages; each must be what the classes say."""
    async with (
        database.connected("gateway") as gateway,
        database.connected("processor") as processor,
    ):
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
        for _ in range(3):
            await gateway.fetch(
                "select create_job($1, 'demo.print', '{}', null, 0::smallint, 'x')",
                DEFAULT_WORKSPACE,
            )
        claim = "select id, attempt from claim_job('i', array['demo.print', 'pointcloud.ingest'], 15, gen_random_uuid())"
        first, second, third, fourth = [await processor.fetchrow(claim) for _ in range(4)]
        error = '{"code": "x", "title": "t", "detail": "d", "remedy": "r"}'
        await processor.fetch("select finish_job($1, 1, '{}', '[]', null)", first["id"])
        await processor.fetch("select fail_job($1, 1, $2, true, null)", second["id"], error)
        await processor.fetch("select fail_job($1, 1, $2, false, null)", third["id"], error)
        await gateway.fetch("select cancel_job($1, $2)", DEFAULT_WORKSPACE, fourth["id"])
        await processor.fetch("select release_job($1, 1)", fourth["id"])
    async with database.connected() as connection:
        rows = await connection.fetch("select exchange, routing_key, message::text from outbox")
    types = {read_data(read_envelope(row["message"].encode())).TYPE for row in rows}
    assert types == {
        "pointmill.cloud.stored.v1",
        "pointmill.work.available.v1",
        *(
            f"pointmill.job.{name}.v1"
            for name in (
                "queued",
                "started",
                "retry_scheduled",
                "cancel_requested",
                "succeeded",
                "failed",
                "cancelled",
            )
        ),
    }

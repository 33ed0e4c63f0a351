"""A bucket that fails or lies while an object is stored: all or nothing, and a clear sentence."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.errors import ChecksumMismatch, ObjectExists, StorageUnavailable
from shared.objects.gcs import GcsStore
from shared.objects.gcs_session import CHUNK_BYTES
from tests.fixtures.gcs_faults import Fault
from tests.fixtures.objects import BUCKET, IMPATIENT, PREFIX, crc32c_of, pieces, some_bytes
from tests.fixtures.strict_gcs import QUANTUM, StrictGcs

DATA = some_bytes(2 * CHUNK_BYTES + QUANTUM + 5)


async def stored(store: GcsStore, strict: StrictGcs) -> None:
    """Store DATA and hold the bucket to it."""
    info = await store.create("x", pieces(DATA))
    assert (info.size, info.crc32c) == (len(DATA), crc32c_of(DATA))
    assert [data for _, data in strict.objects.values()] == [DATA]


def nothing_left(strict: StrictGcs) -> bool:
    """No object, and no bytes in a session that somebody could still finish.

    A session whose URL got lost on the way holds none; the bucket forgets it by itself.
    """
    return not strict.objects and all(
        session.gone or not session.data for session in strict.sessions.values()
    )


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("operation", ["stat", "begin", "put", "finish"])
async def test_a_passing_refusal_is_tried_again(
    impatient: GcsStore, strict: StrictGcs, operation: str, status: int
) -> None:
    strict.script.fail(operation, Fault(status=status), Fault(status=status))
    await stored(impatient, strict)
    assert strict.script.requests.count(operation) >= 3


async def test_the_question_what_is_held_may_fail_as_well(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("put", Fault(cut_after=3 * QUANTUM))
    strict.script.fail("query", Fault(status=503), Fault(lose_answer=True), Fault(status=429))
    await stored(impatient, strict)


@pytest.mark.parametrize("kept", [1, QUANTUM - 1, QUANTUM, 5 * QUANTUM + 1, CHUNK_BYTES - 1])
async def test_a_cut_chunk_goes_on_where_the_bucket_stands(
    impatient: GcsStore, strict: StrictGcs, kept: int
) -> None:
    strict.script.fail("put", Fault(), Fault(cut_after=kept))
    await stored(impatient, strict)


@pytest.mark.parametrize("kept", [1, QUANTUM + 1])
async def test_a_cut_last_chunk_goes_on_where_the_bucket_stands(
    impatient: GcsStore, strict: StrictGcs, kept: int
) -> None:
    strict.script.fail("finish", Fault(cut_after=kept))
    await stored(impatient, strict)


async def test_a_chunk_cut_again_and_again_still_gets_through(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("put", *[Fault(cut_after=(2 * n + 1) * QUANTUM) for n in range(8)])
    strict.script.fail("finish", Fault(cut_after=1), Fault(cut_after=QUANTUM))
    await stored(impatient, strict)


@pytest.mark.parametrize("operation", ["stat", "begin", "put", "finish"])
async def test_a_lost_answer_changes_nothing(
    impatient: GcsStore, strict: StrictGcs, operation: str
) -> None:
    strict.script.fail(operation, Fault(lose_answer=True))
    await stored(impatient, strict)


async def test_a_small_upload_whose_answer_was_lost_is_known_as_ours(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    # A finished session may be forgotten at once; then only the object itself can tell.
    strict.script.fail("finish", Fault(lose_answer=True))
    strict.script.fail("query", Fault(forget=True))
    await stored(impatient, strict)


async def test_another_writers_object_is_never_taken_for_ours_nor_removed(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    async def overtaken() -> AsyncIterator[bytes]:
        yield b"ours"
        strict.store(f"{PREFIX}/x", b"theirs", {})

    with pytest.raises(ObjectExists):
        await impatient.create("x", overtaken())
    assert [data for _, data in strict.objects.values()] == [b"theirs"]


async def test_an_object_that_appears_before_the_upload_begins_is_not_replaced(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("stat", Fault(status=404))
    strict.store(f"{PREFIX}/x", b"theirs", {})
    with pytest.raises(ObjectExists):
        await impatient.create("x", pieces(b"ours"))
    assert strict.script.requests == ["stat", "begin"]


@pytest.mark.parametrize("operation", ["put", "finish"])
async def test_a_lost_session_leaves_nothing(
    impatient: GcsStore, strict: StrictGcs, operation: str
) -> None:
    strict.script.fail(operation, Fault(forget=True))
    with pytest.raises(StorageUnavailable, match="lost the upload"):
        await impatient.create("x", pieces(DATA))
    assert nothing_left(strict)


async def test_a_bit_that_flips_on_the_way_is_refused_by_the_bucket(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("put", Fault(flip=12345))
    with pytest.raises(ChecksumMismatch):
        await impatient.create("x", pieces(DATA))
    assert nothing_left(strict)
    assert "delete" not in strict.script.requests


async def test_a_bucket_that_stores_other_bytes_is_found_out_and_cleaned(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("finish", Fault(flip=12345))
    with pytest.raises(ChecksumMismatch):
        await impatient.create("x", pieces(DATA))
    assert nothing_left(strict) or not strict.objects
    assert "delete" in strict.script.requests


async def test_a_claim_of_less_than_a_quantum_is_rounded_down(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    # gcp-storage-emulator says "bytes=0-0" of a session that holds nothing.
    strict.script.fail("put", Fault(status=503))
    strict.script.fail("query", Fault(claim=1))
    await stored(impatient, strict)


@pytest.mark.parametrize("claim", [CHUNK_BYTES + QUANTUM, 1 << 50])
async def test_a_bucket_that_claims_more_than_was_sent_is_not_believed(
    impatient: GcsStore, strict: StrictGcs, claim: int
) -> None:
    strict.script.fail("put", Fault(claim=claim))
    with pytest.raises(StorageUnavailable, match="cannot be"):
        await impatient.create("x", pieces(DATA[: CHUNK_BYTES + 1]))
    assert nothing_left(strict)


async def test_a_bucket_that_forgets_what_it_confirmed_is_not_believed(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("put", Fault(), Fault(claim=0))
    with pytest.raises(StorageUnavailable, match="cannot be"):
        await impatient.create("x", pieces(DATA))
    assert nothing_left(strict)


async def test_a_bucket_that_never_keeps_anything_ends_in_an_error(
    hasty: GcsStore, strict: StrictGcs
) -> None:
    strict.script.stuck["put"] = Fault(claim=0)
    with pytest.raises(StorageUnavailable, match="kept nothing"):
        await hasty.create("x", pieces(DATA))
    assert nothing_left(strict)


async def test_an_upload_that_is_called_finished_too_early_is_not_believed(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("put", Fault(body=b"{}"))
    with pytest.raises(StorageUnavailable, match="before the last byte"):
        await impatient.create("x", pieces(DATA))
    assert nothing_left(strict)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{", b"\xff"])
@pytest.mark.parametrize("operation", ["stat", "finish"])
async def test_an_answer_that_makes_no_sense_is_asked_for_again(
    impatient: GcsStore, strict: StrictGcs, operation: str, body: bytes
) -> None:
    strict.script.fail(operation, Fault(body=body))
    await stored(impatient, strict)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"name":1,"size":"x","crc32c":"AAAAAA==","updated":"2026-01-01T00:00:00Z"}']
)
async def test_a_description_that_makes_no_sense_is_an_error(
    impatient: GcsStore, strict: StrictGcs, body: bytes
) -> None:
    strict.script.stuck["finish"] = Fault(body=body)
    with pytest.raises(StorageUnavailable, match="makes no sense"):
        await impatient.create("x", pieces(b"small"))
    assert not strict.objects


@pytest.mark.parametrize("operation", ["stat", "begin", "put", "finish"])
@pytest.mark.parametrize("fault", [Fault(status=503), Fault(stall=60), Fault(cut_after=0)])
async def test_a_bucket_that_stays_down_ends_in_an_error_in_time(
    hasty: GcsStore, strict: StrictGcs, operation: str, fault: Fault
) -> None:
    if fault.cut_after == 0 and operation in {"stat", "begin"}:
        fault = Fault(lose_answer=True)
    strict.script.stuck[operation] = fault
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="the bucket"):
        await hasty.create("x", pieces(DATA))
    assert time.monotonic() - began < 10
    assert nothing_left(strict)


async def test_a_cut_kept_connection_costs_no_time(
    strict: StrictGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sent again with a half-used body, the request would wait until the silence is too long.
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", strict.url)
    patient = await GcsStore.open(BUCKET, PREFIX, replace(IMPATIENT, silence=30))
    strict.script.fail("put", Fault(), Fault(cut_after=5 * QUANTUM))
    strict.script.fail("finish", Fault(cut_after=QUANTUM))
    async with asyncio.timeout(15):
        await stored(patient, strict)
    await patient.close()


async def test_a_slow_bucket_is_waited_for_and_asked_again(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("put", Fault(stall=1.5), Fault())
    await stored(impatient, strict)


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "credentials"), (403, "right"), (404, "name")]
)
async def test_a_final_refusal_says_what_to_do_at_once(
    impatient: GcsStore, strict: StrictGcs, status: int, remedy: str
) -> None:
    strict.script.stuck["begin"] = Fault(status=status)
    with pytest.raises(StorageUnavailable, match=str(status)) as caught:
        await impatient.create("x", pieces(DATA))
    assert remedy in caught.value.remedy
    assert strict.script.requests.count("begin") <= 2


async def test_an_upload_cancelled_while_it_is_finished_leaves_nothing(
    impatient: GcsStore, strict: StrictGcs
) -> None:
    strict.script.stuck["query"] = Fault(stall=60)
    strict.script.fail("finish", Fault(lose_answer=True))
    task = asyncio.create_task(impatient.create("x", pieces(b"whole")))
    async with asyncio.timeout(10):
        while "query" not in strict.script.requests:
            await asyncio.sleep(0.01)
    assert strict.objects
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not strict.objects


async def test_errors_never_show_the_sessions_url(
    hasty: GcsStore, strict: StrictGcs, caplog: pytest.LogCaptureFixture
) -> None:
    strict.script.stuck["put"] = Fault(cut_after=0)
    with pytest.raises(StorageUnavailable) as caught:
        await hasty.create("x", pieces(DATA))
    (secret,) = strict.sessions
    assert secret not in str(caught.value.to_dict())
    assert secret not in caplog.text


async def test_a_bucket_that_nobody_serves_is_unavailable(
    hasty: GcsStore, strict: StrictGcs
) -> None:
    await strict.stop()
    for attempt in (hasty.stat("x"), hasty.create("x", pieces(b"x")), hasty.check()):
        with pytest.raises(StorageUnavailable, match="broke the connection"):
            await attempt

"""A bucket that fails or lies while it is read: the right bytes, or a clear sentence."""

import io
import json
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from gcloud.aio.storage import Storage

from shared.errors import ChecksumMismatch, ObjectMissing, StorageUnavailable
from shared.objects import open_store
from shared.objects.gcs import GcsStore
from shared.objects.gcs_api import BucketApi
from tests.fixtures.gcs_faults import Fault
from tests.fixtures.objects import BUCKET, HASTY, PREFIX, gathered, pieces, some_bytes
from tests.fixtures.strict_gcs import StrictGcs

DATA = some_bytes(3_000_000)


@pytest.fixture
async def filled(impatient: GcsStore, strict: StrictGcs) -> GcsStore:
    """The impatient store, with DATA under the key x."""
    strict.store(f"{PREFIX}/x", DATA, {})
    return impatient


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=429),
        Fault(stall=1.5),
        Fault(cut_after=0),
        Fault(cut_after=1),
        Fault(cut_after=1_234_567),
        Fault(short=0),
        Fault(short=1_234_567),
    ],
)
async def test_a_broken_read_goes_on_where_it_stopped(
    filled: GcsStore, strict: StrictGcs, tmp_path: Path, fault: Fault
) -> None:
    strict.script.fail("media", fault, fault)
    assert await gathered(filled.read("x")) == DATA
    strict.script.fail("media", fault)
    assert await gathered(filled.read("x", start=7, end=2_500_000)) == DATA[7:2_500_000]
    strict.script.fail("media", fault)
    await filled.download("x", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


async def test_a_bit_that_flips_on_the_way_down_is_fetched_again(
    filled: GcsStore, strict: StrictGcs, tmp_path: Path
) -> None:
    strict.script.fail("media", Fault(flip=2_999_999))
    await filled.download("x", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == DATA


async def test_a_file_of_wrong_bytes_never_appears(
    filled: GcsStore, strict: StrictGcs, tmp_path: Path
) -> None:
    strict.script.stuck["media"] = Fault(flip=0)
    with pytest.raises(ChecksumMismatch):
        await filled.download("x", tmp_path / "copy")
    assert names_in(tmp_path) == []


async def test_a_reader_never_holds_a_complete_wrong_copy(
    filled: GcsStore, strict: StrictGcs
) -> None:
    strict.script.stuck["media"] = Fault(flip=0)
    received = 0
    with pytest.raises(ChecksumMismatch):  # noqa: PT012 - what came before it counts
        async for chunk in filled.read("x"):
            received += len(chunk)
    assert received < len(DATA)


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(stall=60), Fault(cut_after=0), Fault(short=0)]
)
async def test_a_bucket_that_gives_nothing_ends_in_an_error(
    hasty: GcsStore, strict: StrictGcs, tmp_path: Path, fault: Fault
) -> None:
    strict.store(f"{PREFIX}/x", DATA, {})
    strict.script.stuck["media"] = fault
    with pytest.raises(StorageUnavailable):
        await gathered(hasty.read("x", start=5))
    with pytest.raises(StorageUnavailable):
        await hasty.download("x", tmp_path / "copy")
    assert names_in(tmp_path) == []


async def test_a_read_that_breaks_often_goes_on_while_it_gets_further(
    filled: GcsStore, strict: StrictGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each break takes a twentieth of a second, all of them more than the patience.
    reader = await GcsStore.open(BUCKET, PREFIX, replace(HASTY, without_progress=1.2))
    strict.script.fail("media", *[Fault(cut_after=60_000)] * 40)
    assert await gathered(reader.read("x")) == DATA
    await reader.close()


async def test_bytes_beyond_the_range_are_not_passed_on(
    filled: GcsStore, strict: StrictGcs
) -> None:
    strict.script.fail("media", Fault(more=10))
    assert await gathered(filled.read("x", start=5, end=50)) == DATA[5:50]


async def test_an_object_that_vanishes_after_it_was_looked_up_is_missing(
    filled: GcsStore, strict: StrictGcs, tmp_path: Path
) -> None:
    strict.script.stuck["media"] = Fault(status=404)
    with pytest.raises(ObjectMissing):
        await filled.download("x", tmp_path / "copy")
    assert names_in(tmp_path) == []


async def test_an_object_that_shrank_is_not_passed_off_as_whole(
    filled: GcsStore, strict: StrictGcs
) -> None:
    resource, data = strict.objects[f"{PREFIX}/x"]
    strict.objects[f"{PREFIX}/x"] = (resource, data[:-1])
    with pytest.raises((ChecksumMismatch, StorageUnavailable)):
        await gathered(filled.read("x"))


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(lose_answer=True), Fault(stall=1.5)])
async def test_a_deletion_and_a_listing_are_tried_again(
    filled: GcsStore, strict: StrictGcs, fault: Fault
) -> None:
    strict.script.fail("list", fault)
    assert [info.key async for info in filled.list("")] == ["x"]
    strict.script.fail("delete", fault)
    await filled.delete("x")
    assert not strict.objects


@pytest.mark.parametrize("body", [b"[]", b'{"items": 5}', b'{"items": [5]}', b'{"items": [{}]}'])
async def test_a_listing_that_makes_no_sense_is_an_error_or_asked_for_again(
    filled: GcsStore, strict: StrictGcs, body: bytes
) -> None:
    strict.script.fail("list", Fault(body=body))
    assert [info.key async for info in filled.list("")] in ([], ["x"])


@pytest.mark.parametrize(
    "fault", [Fault(status=503), Fault(status=403), Fault(status=404), Fault(lose_answer=True)]
)
async def test_an_unusable_bucket_is_noticed_at_once(
    impatient: GcsStore, strict: StrictGcs, fault: Fault
) -> None:
    strict.script.stuck["list"] = fault
    with pytest.raises(StorageUnavailable):
        await impatient.check()
    assert set(strict.script.requests) == {"list"}
    assert len(strict.script.requests) <= 2
    strict.script.stuck.clear()
    await impatient.check()


async def test_a_folder_that_a_console_made_is_no_object(
    filled: GcsStore, strict: StrictGcs
) -> None:
    strict.store(f"{PREFIX}/folder/", b"", {})
    assert [info.key async for info in filled.list("")] == ["x"]


async def with_credentials(strict: StrictGcs) -> tuple[GcsStore, aiohttp.ClientSession]:
    """A store that has to get its token, as it does from Google."""
    credentials = {"type": "authorized_user", "client_id": "c", "client_secret": "s"}
    credentials |= {"refresh_token": "r", "token_uri": f"{strict.url}/token"}
    http = aiohttp.ClientSession()
    storage = Storage(
        session=http,
        api_root=strict.url,
        api_is_dev=False,
        service_file=io.StringIO(json.dumps(credentials)),
    )
    api = BucketApi(BUCKET, strict.url, http, storage, anonymous=False)
    return GcsStore(api, PREFIX, HASTY), http


async def test_a_token_that_is_refused_is_renewed_once(strict: StrictGcs, tmp_path: Path) -> None:
    store, http = await with_credentials(strict)
    async with http:
        await store.create("x", pieces(DATA))
        for step in (store.check(), store.stat("x"), store.download("x", tmp_path / "copy")):
            strict.script.token = "Bearer another"
            await step
        assert (tmp_path / "copy").read_bytes() == DATA
        strict.script.stuck["stat"] = Fault(status=401)
        before = strict.script.requests.count("token")
        with pytest.raises(StorageUnavailable, match="401"):
            await store.stat("x")
        assert strict.script.requests.count("token") == before + 1


async def test_a_missing_token_is_never_taken_for_a_missing_object(
    strict: StrictGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, http = await with_credentials(strict)
    token = store._api._storage.token
    # One try of the library's instead of five: its pauses would hide the refusal behind a time-out.
    monkeypatch.setattr(token, "acquire_access_token", lambda: token.refresh(timeout=1))
    strict.script.stuck["token"] = Fault(status=404)
    async with http:
        with pytest.raises(StorageUnavailable, match="token"):
            await store.stat("x")
        with pytest.raises(StorageUnavailable, match="token"):
            await store.check()


async def test_credentials_that_cannot_be_read_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    with pytest.raises(StorageUnavailable, match="credentials") as caught:
        await open_store("gs://bucket/prefix")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.remedy

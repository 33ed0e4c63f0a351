"""Which keys and URLs there are, and that nothing is loaded before it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.objects import ObjectStore, open_store
from tests.fixtures.objects import gathered, keys, pieces

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "key",
    ["with space", "a+b&c=d?e#f", "100%25", "ünïcödé/☃/𐍈", "-rf", ".hidden", "a..b", "x" * 200],
)
async def test_an_odd_key_is_just_a_key(store: ObjectStore, key: str) -> None:
    info = await store.create(key, pieces(b"odd"))
    assert await store.stat(key) == info
    assert await gathered(store.read(key)) == b"odd"
    assert await keys(store) == [key]
    await store.delete(key)
    assert await keys(store) == []


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a\nb", "a\x00b", "a\x7f", "\ud800",
     "x" * 201, "/".join(["x" * 100] * 9)],
)  # fmt: skip
async def test_a_key_that_a_store_could_not_hold_is_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        await store.create(key, pieces(b"x"))
    for refused in (store.stat(key), gathered(store.read(key)), store.delete(key)):
        with pytest.raises(ValueError, match="key"):
            await refused


@pytest.mark.parametrize("prefix", ["/", "../", "a/../b", "a\n"])
async def test_a_prefix_that_leads_elsewhere_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="key"):
        await keys(store, prefix)


@pytest.mark.parametrize(
    "url",
    ["", "/folder", "file:folder", "file://", "file:///", "file://host/folder", "s3://bucket/x",
     "gs://", "gs:///x", "gs://bucket/../x", "gs://bucket/x?y", "gs://bucket/x#y",
     "gs://bucket/" + "x" * 101],
)  # fmt: skip
async def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|key"):
        await open_store(url)


async def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "with space #1 100% ü"
    store = await open_store(folder.as_uri())
    await store.create("x", pieces(b"x"))
    assert (folder / "objects/x").is_dir()


def test_a_service_without_a_store_needs_none_of_its_libraries(tmp_path: Path) -> None:
    program = """
import asyncio, sys
import shared.objects
assert not {"gcloud", "google_crc32c", "aiohttp"} & set(sys.modules), "for nothing"
asyncio.run(shared.objects.open_store(sys.argv[1]))
assert "google_crc32c" in sys.modules and "gcloud" not in sys.modules, "for a folder"
"""
    subprocess.run(
        [sys.executable, "-c", program, tmp_path.as_uri()], cwd=ROOT, timeout=60, check=True
    )

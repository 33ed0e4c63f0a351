"""Fetching a product: resumed when cut, checked against its checksum, and there whole or not at all."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import aiohttp

from services.gateway.client.api import Document, Pointmill
from services.gateway.client.backoff import Backoff
from services.gateway.client.failures import Failure, Refused, Unreachable

ATTEMPTS = 12
CHUNK_BYTES = 1 << 20
SILENCE_SECONDS = 60.0

Moved = Callable[[int], None]


def _unseen(_fetched: int) -> None:
    """For a caller who does not look."""


async def find_product(api: Pointmill, cloud_id: str, name: str) -> Document:
    """The product of this name; the Failure for an unknown name lists those there are."""
    products = await api.products(cloud_id)
    for product in products:
        if product["name"] == name:
            return product
    names = ", ".join(sorted(product["name"] for product in products))
    raise Failure(
        "product_not_found",
        "There is no such product",
        f"The cloud has no product {name!r}.",
        f"It has: {names}." if names else "It has none yet; see its job with `pointmill jobs`.",
    )


async def fetch_product(
    api: Pointmill,
    cloud_id: str,
    product: Document,
    target: Path,
    *,
    moved: Moved = _unseen,
) -> None:
    """Write a product's bytes to `target`, replacing what is there.

    The bytes go to `<target>.part` first, which takes its place only when size and sha256 are right.

    Raises:
        Failure: the file cannot be written, the checksum does not match, or the bytes could not be
            fetched in `ATTEMPTS` tries. `target` is as before then.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        with part.open("wb") as file:
            try:
                await copy_product(api, cloud_id, product, file, moved)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
                part.replace(target)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise _unwritable(target, error) from error


async def copy_product(
    api: Pointmill, cloud_id: str, product: Document, file: BinaryIO, moved: Moved
) -> None:
    """Write a product's bytes to an open file and check them; see `fetch_product` for the errors."""
    path = f"/v1/clouds/{quote(cloud_id, safe='')}/products/{quote(product['name'], safe='')}"
    digest = hashlib.sha256()
    have = 0
    backoff = Backoff(ATTEMPTS)
    while True:
        try:
            async for chunk in _bytes_from(api, path, have):
                digest.update(chunk)
                await asyncio.to_thread(file.write, chunk)
                have += len(chunk)
                moved(have)
                backoff.reset()
            break
        except (Unreachable, Refused) as failure:
            if have == product["bytes"]:
                break
            await backoff.pause(failure)
    if have != product["bytes"] or digest.hexdigest() != product["sha256"]:
        raise Failure(
            "checksum_mismatch",
            "The bytes are not those of the product",
            f"{product['name']}: {have} bytes came whose sha256 is not the product's.",
            "Try again; if it stays, tell the operators.",
        )


async def _bytes_from(api: Pointmill, path: str, start: int) -> AsyncIterator[bytes]:
    """The product's bytes from `start` on."""
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_SECONDS)
    async with api.open("GET", path, headers=headers, timeout=timeout) as response:
        # Products never change, but a proxy may know nothing of ranges: skip what we have then.
        skip = start if response.status != 206 else 0
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            new = chunk[skip:]
            skip -= len(chunk) - len(new)
            if new:
                yield new


def _unwritable(target: Path, error: OSError) -> Failure:
    return Failure(
        "file_unwritable",
        "The file cannot be written",
        f"{target}: {error.strerror or error}.",
        "Name a place with room that you may write to, with -o PATH.",
    )

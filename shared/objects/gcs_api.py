"""The small requests to a bucket, through gcloud-aio-storage.

The library brings the token, the connections and the URLs. It tries nothing again, bounds a
download's whole length by its time-out and keeps a token that was refused; that is mended here.
"""

import asyncio
import io
import json
import math
import os
import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
from gcloud.aio.storage import Blob, Bucket, Storage

from shared.errors import StorageUnavailable
from shared.objects.gcs_retries import RETRIED, Patience, Retries, connection_problem
from shared.objects.gcs_session import ResumableSession

_GOOGLE = "https://www.googleapis.com"
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")
T = TypeVar("T")


class NoToken(Exception):
    """Google's token service, or the credentials it wants, failed."""


class BucketApi:
    """One bucket's requests; each ends within the patience, by an answer or StorageUnavailable.

    Methods that can meet a 404, 412 or 416 say so by their result; every other refusal is
    StorageUnavailable at once.
    """

    def __init__(
        self,
        bucket: str,
        root: str,
        http: aiohttp.ClientSession,
        storage: Storage,
        *,
        anonymous: bool,
    ) -> None:
        """Use what `open` has made."""
        self.http = http
        self._bucket = bucket
        self._root = root
        self._uploads = f"{root}/upload/storage/v1/b/{bucket}/o"
        self._storage = storage
        self._anonymous = anonymous

    @classmethod
    async def open(cls, bucket: str, patience: Patience) -> Self:
        """Make the connections' session; nothing is asked yet.

        STORAGE_EMULATOR_HOST, as in Google's own libraries, names another server, which is sent
        no credentials.
        """
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
        root = emulator or _GOOGLE
        if "://" not in root:
            root = f"http://{root}"
        http = aiohttp.ClientSession(timeout=patience.timeout())
        try:
            storage = Storage(
                session=http,
                api_root=root,
                api_is_dev=bool(emulator),
                # The library wants credentials even where it will not use them.
                service_file=io.StringIO("{}") if emulator else None,
            )
        except Exception as error:
            # A missing or broken credentials file surfaces as whatever its parser raises.
            await http.close()
            raise StorageUnavailable(
                f"The bucket's credentials cannot be read ({type(error).__name__}).",
                remedy="See to the file that GOOGLE_APPLICATION_CREDENTIALS names.",
            ) from error
        return cls(bucket, root, http, storage, anonymous=bool(emulator))

    async def metadata(self, name: str, patience: Patience) -> dict[str, Any] | None:
        """The object's resource; None if there is none."""

        async def request() -> dict[str, Any]:
            return _resource(
                await self._storage.download_metadata(
                    self._bucket, name, timeout=math.ceil(patience.request)
                )
            )

        try:
            return await self._call(f"{name} cannot be looked up", request, patience, {404})
        except aiohttp.ClientResponseError:
            return None

    async def delete(self, name: str, generation: str | None, patience: Patience) -> None:
        """Remove the object if there is one, and only this generation of it if one is named."""
        params = {} if generation is None else {"ifGenerationMatch": generation}

        async def request() -> None:
            await self._storage.delete(
                self._bucket, name, params=params, timeout=math.ceil(patience.request)
            )

        try:
            await self._call(f"{name} cannot be deleted", request, patience, {404, 412})
        except aiohttp.ClientResponseError:
            return

    async def page(self, params: dict[str, str], patience: Patience) -> dict[str, Any]:
        """One page of the listing that Google's parameters describe."""

        async def request() -> dict[str, Any]:
            page = _resource(
                await self._storage.list_objects(
                    self._bucket, params=params, timeout=math.ceil(patience.request)
                )
            )
            page["items"] = [_resource(item) for item in page.get("items", [])]
            return page

        return await self._call("The bucket cannot be listed", request, patience)

    async def begin(
        self, name: str, metadata: dict[str, Any], patience: Patience
    ) -> ResumableSession | None:
        """Begin an upload that will only ever make a new object; None if one is there."""
        url = await self.session_url(name, metadata, {}, patience)
        return None if url is None else ResumableSession(self.http, url, patience)

    async def session_url(
        self, name: str, metadata: dict[str, Any], headers: dict[str, str], patience: Patience
    ) -> str | None:
        """The secret address of a new upload, as `begin`; `headers` say more of who will send it."""
        params = {"uploadType": "resumable", "name": name, "ifGenerationMatch": "0"}

        async def request() -> str:
            response = await self._storage.session.post(
                self._uploads,
                headers={
                    **await self._authorization(),
                    "Content-Type": "application/json; charset=UTF-8",
                    "X-Upload-Content-Type": metadata["contentType"],
                    **headers,
                },
                data=json.dumps(metadata).encode(),
                params=params,
                timeout=patience.timeout(),
            )
            response.release()
            return str(response.headers["Location"])

        try:
            return await self._call("The upload cannot begin", request, patience, {412})
        except aiohttp.ClientResponseError:
            return None

    async def media(
        self, name: str, start: int, end: int | None, patience: Patience
    ) -> aiohttp.ClientResponse | int:
        """The answer whose body is the range, open, or the status that tells why there is none."""
        headers = {
            "Range": f"bytes={start}-{'' if end is None else end - 1}",
            # Asks for the bytes as they are stored, and keeps the client from unpacking them.
            "Accept-Encoding": "gzip",
        }

        async def request() -> aiohttp.ClientResponse:
            stream = await self._storage.download_stream(
                self._bucket,
                name,
                headers=headers,
                # A plain number would end the body after so long; aiohttp is handed this as it is.
                timeout=patience.timeout(),  # type: ignore[arg-type]
            )
            response: aiohttp.ClientResponse = await stream.__aenter__()
            return response

        try:
            return await self._call(f"{name} cannot be read", request, patience, {404, 416})
        except aiohttp.ClientResponseError as error:
            return error.status

    async def signed_url(
        self, name: str, seconds: int, media_type: str, disposition: str
    ) -> str | None:
        """The object's address with a signature (V4) by the key file; None without a key file.

        Credentials of another kind would have to ask Google for each signature. An emulator needs
        none.
        """
        shown = {"response-content-disposition": disposition, "response-content-type": media_type}
        if self._anonymous:
            query = urlencode({"alt": "media", **shown}, quote_via=quote)
            return f"{self._root}/storage/v1/b/{self._bucket}/o/{quote(name, safe='')}?{query}"
        if not self._storage.token.service_data.get("private_key"):
            return None
        blob = Blob(Bucket(self._storage, self._bucket), name, {"size": 0})

        # With a key file the library never waits, but reading the key takes long: not in our loop.
        def sign() -> str:
            return asyncio.run(blob.get_signed_url(seconds, query_params={**shown}))

        return await asyncio.to_thread(sign)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()

    async def _authorization(self) -> dict[str, str]:
        if self._anonymous:
            return {}
        try:
            return {"Authorization": f"Bearer {await self._storage.token.get()}"}
        except Exception as error:
            # Credentials, their service and the library's own retries fail in many classes; kept
            # apart here so that a 404 of the token service is never taken for a missing object.
            raise NoToken(type(error).__name__) from error

    async def _call(
        self,
        what: str,
        request: Callable[[], Awaitable[T]],
        patience: Patience,
        expected: Collection[int] = (),
    ) -> T:
        """Make the request until it is answered; an expected refusal comes as the library's error."""
        retries = Retries(patience, what)
        renewed = False
        while True:
            try:
                async with asyncio.timeout(patience.request):
                    await self._authorization()
                    return await request()
            except aiohttp.ClientResponseError as error:
                if error.status in expected:
                    raise
                if error.status == 401 and not renewed:
                    renewed = True
                    self._storage.token.access_token = None
                    continue
                if error.status not in RETRIED:
                    raise refused(what, error.status) from error
                problem = f"answered {error.status}"
            except (aiohttp.ClientError, OSError) as error:
                problem = connection_problem(error)
            except (KeyError, TypeError, ValueError):
                problem = "answered something that makes no sense"
            except NoToken as error:
                problem = f"cannot be asked without a token, and none came ({error})"
            await retries.pause(problem)


def refused(what: str, status: int) -> StorageUnavailable:
    """The error for an answer that no further try will change."""
    remedy = {
        401: "See to the credentials: the bucket does not accept them.",
        403: "Give the credentials the right to read, create and delete objects in the bucket.",
        404: "See to the bucket's name in the storage URL: there is no such bucket.",
    }.get(status)
    return StorageUnavailable(f"{what}: the bucket answered {status}.", remedy=remedy)


def end_of_range(response: aiohttp.ClientResponse, start: int, end: int | None) -> int:
    """Where the answered range really ends: at `end`, or at the object's own end before it."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is not None and int(found[1]) == start:
        size = int(found[2])
    elif response.status == 200 and start == 0 and response.content_length is not None:
        size = response.content_length
    else:
        raise StorageUnavailable("The bucket answered with another range than was asked for.")
    return size if end is None else min(end, size)


def _resource(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        msg = "not a JSON object"
        raise TypeError(msg)
    return answer

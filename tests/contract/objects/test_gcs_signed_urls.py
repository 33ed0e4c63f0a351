"""A bucket's own signed URL, held against Google's rules for V4 signatures by hand."""

import hashlib
import io
import json
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from gcloud.aio.storage import Storage

from shared.objects import ObjectStore
from shared.objects.gcs import GcsStore
from shared.objects.gcs_api import BucketApi
from tests.fixtures.objects import HASTY, Place, pieces

DISPOSITION = "attachment; filename=\"a.laz\"; filename*=UTF-8''Stra%C3%9Fe%201.laz"


async def test_the_address_of_a_key_file_is_signed_as_google_asks() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    account = {
        "type": "service_account",
        "client_email": "pointmill@example.iam.gserviceaccount.com",
        "private_key": pem,
        "token_uri": "https://oauth2.example.org/token",
    }
    async with aiohttp.ClientSession() as http:
        storage = Storage(session=http, service_file=io.StringIO(json.dumps(account)))
        api = BucketApi("town", "https://unused.example", http, storage, anonymous=False)
        url = await GcsStore(api, "below", HASTY).signed_url(
            "w/Straße 1.laz", 300, "application/vnd.laszip", DISPOSITION
        )
    assert url is not None
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "storage.googleapis.com")
    assert unquote(parts.path) == "/town/below/w/Straße 1.laz"
    query = dict(parse_qsl(parts.query, strict_parsing=True))
    assert query["response-content-disposition"] == DISPOSITION
    assert query["X-Goog-Expires"] == "300"
    signature = bytes.fromhex(query.pop("X-Goog-Signature"))
    # https://cloud.google.com/storage/docs/authentication/canonical-requests
    asked = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items())
    )
    head = f"GET\n{parts.path}\n{asked}\nhost:storage.googleapis.com\n"
    canonical = f"{head}\nhost\nUNSIGNED-PAYLOAD"
    email, _, scope = query["X-Goog-Credential"].partition("/")
    assert email == account["client_email"]
    to_sign = "\n".join(
        [
            "GOOG4-RSA-SHA256",
            query["X-Goog-Date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key.public_key().verify(signature, to_sign.encode(), padding.PKCS1v15(), hashes.SHA256())


async def test_credentials_without_a_key_have_no_address(tmp_path: Path) -> None:
    user = {"type": "authorized_user", "client_id": "a", "client_secret": "b"}
    user |= {"refresh_token": "r", "token_uri": "https://oauth2.example.org/token"}
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(user))
    async with aiohttp.ClientSession() as http:
        storage = Storage(session=http, service_file=str(path))
        api = BucketApi("town", "https://unused.example", http, storage, anonymous=False)
        assert await api.signed_url("x", 300, "text/plain", "inline") is None


async def test_whoever_has_the_address_gets_the_object(store: ObjectStore, place: Place) -> None:
    await store.create("a/Straße 1.laz", pieces(b"content"))
    url = await store.signed_url("a/Straße 1.laz", 60, "application/vnd.laszip", DISPOSITION)
    if place.name == "file":
        assert url is None
        return
    assert url is not None
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 200
        assert await response.read() == b"content"

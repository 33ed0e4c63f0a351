"""The OpenID provider that people sign in at: what it says of itself, its keys, and the tokens it signs."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import jwt
import orjson
import structlog

from shared.errors import PointmillError, Unavailable

# Signatures by a private key only: with HS256 a public key would do to sign, with `none` nothing.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
LEEWAY_SECONDS = 30.0
KEPT_SECONDS = 3600.0
# An unknown key id makes us look again, but not for everybody who makes one up.
SOONEST_SECONDS = 30.0
# While we have none at all.
AGAIN_SECONDS = 2.0
ASK_SECONDS = 5.0
LARGEST_ANSWER = 1 << 18

log = structlog.get_logger("gateway.oidc")
Json = dict[str, Any]


class TokenRefused(PointmillError):
    """A token is not one that the provider has signed for us, or is over."""

    code = "token_refused"
    title = "The token is not valid"
    remedy = "Sign in again."


class ProviderAway(Unavailable):
    """The provider does not answer, or not as one does."""

    code = "sign_in_unavailable"
    title = "The OpenID provider is not available"


@dataclass(frozen=True)
class Person:
    """Who a token speaks of.

    Attributes:
        email: only if the provider says that it has verified it.
    """

    issuer: str
    subject: str
    email: str | None
    name: str


class Provider:
    """One provider: its document and keys, fetched when first needed and kept for an hour."""

    def __init__(self, http: aiohttp.ClientSession, issuer: str) -> None:
        """Know its name; nothing is asked yet."""
        self._http = http
        self.issuer = issuer
        self._document: Json = {}
        self._keys: Mapping[str | None, Json] = {}
        self._asked = self._until = -SOONEST_SECONDS
        self._one_at_a_time = asyncio.Lock()

    async def endpoint(self, name: str) -> str:
        """An address of the provider, such as `token_endpoint`."""
        if time.monotonic() >= self._until:
            await self._refresh()
        if not self._document:
            raise ProviderAway("The provider has not answered yet.")
        address = self._document.get(name)
        if not isinstance(address, str):
            raise ProviderAway(f"The provider names no {name}.")
        return address

    async def verify(self, token: str, audience: str, nonce: str | None = None) -> Person:
        """Whom a token speaks of.

        Raises:
            TokenRefused: it is not signed by the provider, not for us, not yet or no longer valid.
            ProviderAway: the provider's keys could not be had.
        """
        try:
            header = jwt.get_unverified_header(token)
            key = jwt.PyJWK(await self._key(header), algorithm=header["alg"])
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=audience,
                issuer=self.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as error:
            raise TokenRefused(f"The token is not valid ({type(error).__name__}).") from error
        if nonce is not None and claims.get("nonce") != nonce:
            raise TokenRefused("The token is for another sign-in.")
        return _person(claims)

    async def exchange(self, form: Mapping[str, str], client: str, secret: str | None) -> str:
        """The ID token for a code of the authorization endpoint."""
        address = await self.endpoint("token_endpoint")
        given = {**form, "client_id": client}
        headers = {}
        if secret is not None:
            # Form-encoded before they are put together: RFC 6749, section 2.3.1.
            login = f"{quote(client, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
            del given["client_id"]
        status, answer = await self._ask("POST", address, data=given, headers=headers)
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise TokenRefused(f"The provider refused the code: {str(answer.get('error'))[:100]}.")
        return token

    async def _key(self, header: Json) -> Json:
        """The key that the token names, of a kind that fits its algorithm."""
        algorithm, name = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise TokenRefused("The token is signed in a way that is not taken.")
        if time.monotonic() >= self._until or name not in self._keys:
            await self._refresh()
        if not self._keys:
            raise ProviderAway("The provider has not answered yet.")
        key = self._keys.get(name)
        if key is None:
            raise TokenRefused("The token is signed by a key that the provider does not have.")
        if key.get("kty") != KEY_TYPES[algorithm[:2]]:
            raise TokenRefused("The token's key is of another kind.")
        return key

    async def _refresh(self) -> None:
        """Ask for the document and the keys, one at a time and not too often.

        While the provider is away, the keys it had are good enough.
        """
        async with self._one_at_a_time:
            if time.monotonic() - self._asked < (SOONEST_SECONDS if self._keys else AGAIN_SECONDS):
                return
            try:
                await self._fetch()
                self._until = time.monotonic() + KEPT_SECONDS
            except ProviderAway as error:
                log.warning("provider_away", detail=error.detail)
            finally:
                self._asked = time.monotonic()

    async def _fetch(self) -> None:
        place = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        _, document = await self._ask("GET", place)
        if document.get("issuer") != self.issuer or not isinstance(document.get("jwks_uri"), str):
            raise ProviderAway("The provider's document is another's.")
        _, found = await self._ask("GET", document["jwks_uri"])
        keys = found.get("keys")
        if not isinstance(keys, Sequence):
            raise ProviderAway("The provider has no keys.")
        self._document = document
        self._keys = {
            key.get("kid"): key
            for key in keys
            if isinstance(key, dict) and key.get("use", "sig") == "sig"
        }

    async def _ask(self, method: str, address: str, **options: Any) -> tuple[int, Json]:
        try:
            async with (
                asyncio.timeout(ASK_SECONDS),
                self._http.request(method, address, allow_redirects=False, **options) as response,
            ):
                body = await response.content.read(LARGEST_ANSWER)
                answer = orjson.loads(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ProviderAway(f"The provider did not answer ({type(error).__name__}).") from error
        if response.status >= 500 or not isinstance(answer, dict):
            raise ProviderAway(f"The provider answered {response.status}.")
        return response.status, answer


def _person(claims: Json) -> Person:
    subject, email, name = (claims.get(one) for one in ("sub", "email", "name"))
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or "\x00" in subject:
        raise TokenRefused("The token's subject is none.")
    verified = claims.get("email_verified") is True
    return Person(
        issuer=claims["iss"],
        subject=subject,
        email=_text(email, 254) if verified else None,
        name=_text(name, 200) or "",
    )


def _text(value: Any, longest: int) -> str | None:
    fits = isinstance(value, str) and len(value) <= longest and "\x00" not in value
    return value if fits else None

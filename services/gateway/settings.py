"""Every setting of the gateway; read once, from GATEWAY_* variables."""

import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")

SECRET_CHARACTERS = 32


def _check_address(url: str) -> str:
    """Secrets and sign-ins pass there: over TLS, unless it is this very machine."""
    parts = urlsplit(url)
    here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and here)):
        raise ValueError("must be an https address")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must hold no user, query or fragment")
    return url


Address = Annotated[str, AfterValidator(_check_address)]


class Settings(BaseSettings):
    """What the gateway is told by its environment. URLs hold passwords and are never shown."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True)

    database_url: Annotated[SecretStr, Field(description="PostgreSQL, as role `gateway`.")]
    amqp_url: Annotated[SecretStr, Field(description="RabbitMQ, as user `gateway`.")]
    storage_url: Annotated[str, Field(description="`file:///folder` or `gs://bucket/prefix`.")]
    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0: any.")] = 8080
    max_upload_bytes: Annotated[
        int, Field(ge=1, description="Largest file taken in. 100 GB holds some 15 G points as LAZ.")
    ] = 100_000_000_000
    upload_idle_seconds: Annotated[
        float, Field(gt=0, description="An upload from which nothing comes for so long is ended.")
    ] = 60.0
    database_connections: Annotated[int, Field(ge=1, le=200)] = 8
    stream_seconds: Annotated[
        float, Field(gt=0, description="A stream of events is ended after; the client resumes it.")
    ] = 3600.0
    requests_per_second: Annotated[
        float,
        Field(ge=0, description="Of one key, at one gateway; ten times as many at once. 0: any."),
    ] = 500.0
    cors_origins: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Origins whose pages may read answers, separated by commas; `*`: all, without cookies."
        ),
    ] = ()
    shutdown_seconds: Annotated[
        float, Field(ge=0, description="How long requests in hand may take when told to stop.")
    ] = 20.0
    public_url: Annotated[
        Address | None, Field(description="Where browsers find the gateway; for signing in.")
    ] = None
    oidc_issuer: Annotated[
        Address | None, Field(description="The OpenID provider that people sign in at.")
    ] = None
    oidc_audience: Annotated[
        str | None, Field(description="What bearer tokens must be for; without it none is taken.")
    ] = None
    oidc_client_id: Annotated[
        str | None, Field(description="Our name at the provider, for signing in with a browser.")
    ] = None
    oidc_client_secret: SecretStr | None = None
    session_seconds: Annotated[
        float, Field(ge=60, le=30 * 86400, description="How long a browser stays signed in.")
    ] = 43_200.0
    signing_secret: Annotated[
        SecretStr,
        Field(
            default_factory=lambda: SecretStr(""),
            description="Signs links; the same at all replicas, 32 characters or more. While it is "
            "being changed: the new one, a comma, the old one.",
        ),
    ]
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    @property
    def signing_secrets(self) -> tuple[str, ...]:
        """The secrets that links may be signed by, the one in use first; none: no link is signed."""
        parts = self.signing_secret.get_secret_value().split(",")
        return tuple(part for part in parts if part)

    @field_validator("signing_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr) -> SecretStr:
        parts = secret.get_secret_value().split(",")
        if parts != [""] and any(len(part) < SECRET_CHARACTERS for part in parts):
            msg = f"each secret has {SECRET_CHARACTERS} characters or more: openssl rand -hex 32"
            raise ValueError(msg)
        return secret

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _read_origins(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        origins = tuple(part.strip() for part in given.split(",") if part.strip())
        for origin in origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin, as https://maps.example.org is one")
        if "*" in origins and len(origins) > 1:
            raise ValueError("* lets in every origin; others beside it say something else")
        return origins

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.oidc_issuer is None and (self.oidc_audience or self.oidc_client_id):
            raise ValueError("GATEWAY_OIDC_AUDIENCE and _CLIENT_ID need GATEWAY_OIDC_ISSUER")
        if self.oidc_client_id and self.public_url is None:
            raise ValueError("GATEWAY_OIDC_CLIENT_ID needs GATEWAY_PUBLIC_URL")
        return self

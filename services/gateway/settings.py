"""Every setting of the gateway; read once, from GATEWAY_* variables."""

import re
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")

SECRET_CHARACTERS = 32


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

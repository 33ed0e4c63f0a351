"""Every NOTIFIER_* variable, read once."""

from email.utils import parseaddr
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _mail_server(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise ValueError("is smtp://[user:password@]host[:port] or smtps://…")
    return url


def _mailbox(text: str) -> str:
    local, at, domain = parseaddr(text)[1].rpartition("@")
    if not (local and at and domain) or not text.isprintable():
        raise ValueError("is a mail address, such as `Pointmill <mill@example.org>`")
    return text


class Settings(BaseSettings):
    """The notifier's settings.

    Attributes:
        database_url: PostgreSQL, under the role `notifier`.
        amqp_url: RabbitMQ, under the user `notifier`.
        smtp_url: the mail server, `smtp://[user:password@]host[:port]` or `smtps://…`.
        mail_from: the sender of the mails.
        public_url: where the gateway is for the people who read the mails; links begin with it.
        allow_private_webhooks: call http URLs and addresses inside this network too. Only for a
            stack on one machine: it lets whoever may add a webhook reach every internal server.
        host: where health and metrics are served.
        port: where health and metrics are served.
        lease_seconds: how long a silent notifier keeps a try; a try itself gets half of it.
        retry_seconds: the pauses between the tries of a delivery; after the last it has failed.
        reconcile_seconds: how often ended jobs are looked for whose message was lost.
        log_level: how much is logged.
    """

    model_config = SettingsConfigDict(env_prefix="NOTIFIER_", frozen=True)

    database_url: SecretStr
    amqp_url: SecretStr
    smtp_url: Annotated[SecretStr, AfterValidator(_mail_server)]
    mail_from: Annotated[str, AfterValidator(_mailbox)]
    public_url: AnyHttpUrl
    allow_private_webhooks: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=8082, ge=0, le=65535)
    lease_seconds: float = Field(default=60, gt=0)
    # A day in all: 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 2 h, 4 h, 8 h, 8 h.
    retry_seconds: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 28_800)
    )
    reconcile_seconds: float = Field(default=15, gt=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

"""What the command reads from its environment: where the server is, and the key to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from yarl import URL

from services.gateway.client.failures import Failure

URL_REMEDY = (
    "Set it, `export POINTMILL_URL=https://…` (after `make up`: `. .local/env`), or give --url."
)
KEY_REMEDY = "Set it, `export POINTMILL_API_KEY=…` (after `make up`: `. .local/env`)."


@dataclass(frozen=True)
class Settings:
    """The server's address and the API key."""

    url: str
    api_key: str = field(repr=False)


def read_settings(environment: Mapping[str, str], url: str | None) -> Settings:
    """The settings of this call; `url` is what the command line says. Raises a Failure if unfit."""
    address = (url or environment.get("POINTMILL_URL", "")).strip()
    if not address:
        raise _unfit("POINTMILL_URL is not set.", URL_REMEDY)
    if not _is_address(address):
        raise _unfit(f"{address!r} is not an http:// or https:// address.", URL_REMEDY)
    api_key = environment.get("POINTMILL_API_KEY", "").strip()
    if not api_key:
        raise _unfit("POINTMILL_API_KEY is not set.", KEY_REMEDY)
    if not (api_key.isascii() and api_key.isprintable()):
        # It would break the header it travels in; it must not be repeated here either.
        raise _unfit("POINTMILL_API_KEY holds characters that no key has.", KEY_REMEDY)
    return Settings(address.rstrip("/"), api_key)


def _is_address(text: str) -> bool:
    try:
        address = URL(text)
    except ValueError:
        return False
    return address.scheme in {"http", "https"} and bool(address.host)


def _unfit(detail: str, remedy: str) -> Failure:
    return Failure("setting_missing", "The command does not know the server", detail, remedy)

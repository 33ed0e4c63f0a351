"""Read a service's settings from its own environment variables, once, with plain words on failure."""

import sys
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

T = TypeVar("T", bound=BaseSettings)


def read_settings(settings: type[T]) -> T:
    """The settings of a service.

    Raises:
        SystemExit: a variable is missing or wrong; each is named on stderr, without its value.
    """
    prefix = settings.model_config.get("env_prefix", "")
    try:
        return settings()
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False):
            name = prefix + "_".join(str(part) for part in item["loc"]).upper()
            sys.stderr.write(f"{name}: {item['msg']}\n")
        sys.stderr.write("Set the variables above; the service's README lists them all.\n")
        raise SystemExit(2) from None

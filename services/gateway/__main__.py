"""`python -m services.gateway`: the HTTP API."""

import sys

from pydantic import ValidationError

from services.gateway.app import serve
from services.gateway.settings import Settings
from shared.process import run_service


def main() -> int:
    """Read the environment and serve; the exit status."""
    try:
        settings = Settings()
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False):
            name = "_".join(["GATEWAY", *(str(part).upper() for part in item["loc"])])
            sys.stderr.write(f"{name}: {item['msg']}\n")
        return 2
    return run_service("gateway", lambda: serve(settings))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m services.gateway`: the HTTP API."""

import sys

import uvloop

from services.gateway.app import serve
from services.gateway.settings import Settings
from shared.process import run_service
from shared.settings import read_settings


def main() -> int:
    """Run the gateway until SIGTERM; the exit status."""
    settings = read_settings(Settings)
    # A third less processor time per request than asyncio's own loop.
    return run_service(
        "gateway", lambda: serve(settings), settings.log_level, uvloop.new_event_loop
    )


if __name__ == "__main__":
    sys.exit(main())

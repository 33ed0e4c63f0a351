"""`python -m services.processor`: run the processor."""

import sys

from services.processor.app import serve
from services.processor.settings import Settings
from shared.process import run_service
from shared.settings import read_settings


def main() -> int:
    """Run the processor until SIGTERM; the exit status."""
    settings = read_settings(Settings)
    return run_service("processor", lambda: serve(settings), settings.log_level)


if __name__ == "__main__":
    sys.exit(main())

"""Start the notifier: `python -m services.notifier`."""

import sys

from services.notifier.app import serve
from services.notifier.settings import Settings
from shared.process import run_service
from shared.settings import read_settings


def main() -> int:
    """Run the service; the exit status."""
    settings = read_settings(Settings)
    return run_service("notifier", lambda: serve(settings), settings.log_level)


if __name__ == "__main__":
    sys.exit(main())

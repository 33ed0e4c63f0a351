"""Start the notifier: `python -m services.notifier`."""

import sys

from pydantic import ValidationError

from services.notifier.app import serve
from services.notifier.settings import Settings
from shared.process import run_service


def main() -> int:
    """Run the service; the exit status."""
    try:
        settings = Settings()
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False):
            name = "_".join(["NOTIFIER", *(str(part).upper() for part in item["loc"][:1])])
            sys.stderr.write(f"{name}: {item['msg']}\n")
        return 2
    return run_service("notifier", lambda: serve(settings), settings.log_level)


if __name__ == "__main__":
    sys.exit(main())

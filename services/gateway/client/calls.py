"""What every command needs: its options, where to print, the server, and a job's end."""

import argparse
import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from services.gateway.client.api import Document, Pointmill
from services.gateway.client.display import console_for
from services.gateway.client.failures import Failure
from services.gateway.client.follow import follow_job
from services.gateway.client.progress import open_watch
from services.gateway.client.settings import read_settings
from services.gateway.client.wording import error_sentence, plain


@dataclass(frozen=True)
class Call:
    """One call of the command: results go to `out`, everything said on the way to `err`."""

    options: argparse.Namespace
    environment: Mapping[str, str]
    out: Console = field(default_factory=console_for)
    err: Console = field(default_factory=lambda: console_for(stderr=True))

    def server(self) -> Pointmill:
        """The server that the environment names; a Failure says what is missing."""
        settings = read_settings(self.environment, self.options.url)
        return Pointmill(settings.url, settings.api_key)

    def print_json(self, document: Any) -> None:
        """The one document of `--json`, in ASCII: no terminal and no locale can spoil it."""
        print(json.dumps(document, indent=2), file=self.out.file)

    def tell_failure(self, failure: Failure) -> None:
        """Say what went wrong, in one sentence and a remedy."""
        self.complain(error_sentence(failure.to_dict()))

    def complain(self, sentence: str) -> None:
        """Say something to whoever sits at the terminal, as an error."""
        self.err.print(Text.assemble(("pointmill: ", "red"), sentence), soft_wrap=True)

    def tell_how_to_go_on(self, job_ids: Iterable[str]) -> None:
        """Say that jobs go on without us, and how to come back to them."""
        for job_id in job_ids:
            shown = plain(job_id)
            self.err.print(
                f"Job {shown} goes on without this command.\n"
                f"  See it:  pointmill job {shown} --wait\n"
                f"  Stop it: pointmill cancel {shown}",
                soft_wrap=True,
            )


async def wait_for_end(call: Call, api: Pointmill, job: Document) -> Document:
    """Follow a job to its end and show how it goes; says how to go on if it cannot."""
    try:
        with (
            open_watch(call.err, quiet=call.options.json) as watch,
            watch.job(str(job["kind"])) as tell,
        ):
            tell(job)
            return await follow_job(api, job["id"], tell)
    except (Failure, asyncio.CancelledError):
        call.tell_how_to_go_on([job["id"]])
        raise

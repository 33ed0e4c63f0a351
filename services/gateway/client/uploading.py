"""`pointmill upload`: files go one after the other, their jobs are followed meanwhile."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text

from services.gateway.client.api import Document, Pointmill
from services.gateway.client.calls import Call
from services.gateway.client.display import state_mark
from services.gateway.client.failures import Failure
from services.gateway.client.follow import follow_job
from services.gateway.client.progress import Watch, open_watch
from services.gateway.client.summary import show_uploads
from services.gateway.client.upload import send_file
from services.gateway.client.wording import error_sentence, how_it_ended, plain, size

# Streams open at the same time; the jobs behind them wait for their turn unseen.
MOST_FOLLOWED = 16


@dataclass
class Upload:
    """What became of one file; its fields are those of the document that `--json` prints."""

    file: str
    cloud: Document | None = None
    job: Document | None = None
    products: list[Document] = field(default_factory=list)
    error: Document | None = None

    def to_dict(self) -> dict[str, Any]:
        """The file's part of the JSON document."""
        return {
            "file": self.file,
            "cloud": self.cloud,
            "job": self.job,
            "products": self.products,
            "error": self.error,
        }


async def upload(call: Call) -> int:
    """Send the files, follow their jobs if that is asked for, print what came out."""
    uploads = [Upload(file) for file in call.options.files]
    try:
        await _send_all(call, uploads)
    except Failure as failure:
        # The server is not known, or the project is refused: that holds for every file.
        call.tell_failure(failure)
        for one in uploads:
            one.error = one.error or failure.to_dict()
    except asyncio.CancelledError:
        _tell_what_is_left(call, uploads)
        raise
    if call.options.json:
        documents = [one.to_dict() for one in uploads]
        call.print_json(documents[0] if len(documents) == 1 else documents)
    else:
        show_uploads(call.out, uploads, waited=call.options.wait)
    wanted = "succeeded" if call.options.wait else None
    good = all(
        one.error is None and one.job is not None and wanted in {None, one.job["state"]}
        for one in uploads
    )
    return 0 if good else 1


async def _send_all(call: Call, uploads: list[Upload]) -> None:
    async with call.server() as api:
        project = None
        if call.options.project is not None:
            project = (await api.project_named(call.options.project))["id"]
        with open_watch(call.err, quiet=call.options.json) as watch:
            road = _Road(call, api, watch, project)
            async with asyncio.TaskGroup() as group:
                for one in uploads:
                    await road.send(one)
                    if call.options.wait and one.job is not None:
                        group.create_task(road.follow(one))


class _Road:
    """The way of a file: sent, followed, its products listed."""

    def __init__(self, call: Call, api: Pointmill, watch: Watch, project: str | None) -> None:
        self._call = call
        self._api = api
        self._watch = watch
        self._project = project
        self._turns = asyncio.Semaphore(MOST_FOLLOWED)
        self._many = len(call.options.files) > 1
        self._gone: Failure | None = None
        self._told = ""

    async def send(self, one: Upload) -> None:
        """Send a file; what goes wrong is told and kept with it, and does not stop the others."""
        if self._gone is not None:
            # One file has waited long enough for the server; the others need not do so too.
            one.error = self._gone.to_dict()
            return
        path = Path(one.file)
        started = time.monotonic()
        try:
            with self._watch.transfer(path.name, "sent", _size_of(path)) as moved:
                sent = await send_file(
                    self._api,
                    path,
                    project=self._project,
                    moved=moved,
                    retrying=lambda failure: self._tell_retry(path.name, failure),
                )
        except Failure as failure:
            if failure.passing:
                self._gone = failure
            self._fail(one, failure)
            return
        one.cloud, one.job = sent.cloud, sent.job
        self._tell_sent(one, path.name, time.monotonic() - started)

    async def follow(self, one: Upload) -> None:
        """Wait for the end of a file's job and look at what it made."""
        if one.job is None or one.cloud is None:
            return
        name = Path(one.file).name
        try:
            async with self._turns:
                with self._watch.job(name) as tell:
                    tell(one.job)
                    one.job = await follow_job(self._api, one.job["id"], tell)
            one.error = one.job.get("error")
            one.cloud = await self._api.cloud(one.cloud["id"])
            one.products = await self._api.products(one.cloud["id"])
        except Failure as failure:
            self._fail(one, failure)
            return
        if one.error is not None:
            self._call_out(name, one.error)
        elif self._many and not self._call.options.json:
            mark = state_mark(one.job["state"])
            self._watch.say(Text.assemble(mark, f" {plain(name)}: {how_it_ended(one.job)}"))

    def _fail(self, one: Upload, failure: Failure) -> None:
        one.error = failure.to_dict()
        self._call_out(Path(one.file).name, one.error)

    def _call_out(self, name: str, error: Document) -> None:
        sentence = error_sentence(error)
        named = sentence if plain(name) in sentence else f"{plain(name)}: {sentence}"
        self._watch.say(Text.assemble(("pointmill: ", "red"), named))

    def _tell_retry(self, name: str, failure: Failure) -> None:
        told = f"{plain(name)}: {plain(failure.detail).rstrip('.')}; sending it again."
        if told != self._told:
            self._told = told
            self._watch.say(Text(told, "yellow"))

    def _tell_sent(self, one: Upload, name: str, seconds: float) -> None:
        if self._call.options.json or one.cloud is None:
            return
        count = (one.cloud.get("source") or {}).get("bytes", 0)
        speed = f", {size(int(count / seconds))}/s" if seconds > 0.5 else ""
        self._watch.say(Text.assemble(("↑ ", "green"), f"{plain(name)}: {size(count)} sent{speed}"))


def _size_of(path: Path) -> int:
    """For the bar only; what cannot be read is refused a moment later, with its reason."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _tell_what_is_left(call: Call, uploads: list[Upload]) -> None:
    """After an interruption: which jobs go on, and which files are still here only."""
    ended = {"succeeded", "failed", "cancelled"}
    call.tell_how_to_go_on(
        one.job["id"] for one in uploads if one.job is not None and one.job["state"] not in ended
    )
    left = [plain(one.file) for one in uploads if one.job is None and one.error is None]
    if left:
        call.err.print(f"Not sent: {', '.join(left)}. Upload again to send.", soft_wrap=True)

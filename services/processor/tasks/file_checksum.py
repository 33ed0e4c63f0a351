"""file.checksum: the checksums of a cloud's file, for people who compare copies."""

import hashlib

from pydantic import BaseModel, ConfigDict

from services.processor.task import Limits, Outcome, Task, Work
from shared.errors import TaskFailed

PIECE = 1 << 20


class Params(BaseModel):
    """Nothing to choose."""

    model_config = ConfigDict(extra="forbid")


class Result(BaseModel):
    """The file's size and digests, as lower-case hex."""

    bytes: int
    md5: str
    sha256: str


def run(_: Params, work: Work) -> Outcome:
    """Read the file once."""
    if work.source is None:
        raise TaskFailed(
            "source_missing",
            "The job has no file",
            "file.checksum works on a cloud's file.",
            "Name a cloud.",
        )
    size = max(work.source.stat().st_size, 1)
    md5, sha256, done = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with work.source.open("rb") as file:
        while piece := file.read(PIECE):
            md5.update(piece)
            sha256.update(piece)
            done += len(piece)
            work.progress("reading", done / size, f"{done} of {size} bytes")
    return Outcome(Result(bytes=done, md5=md5.hexdigest(), sha256=sha256.hexdigest()))


TASK = Task(
    kind="file.checksum",
    title="Checksums of a file",
    description="Reads the cloud's file once and gives its MD5 and SHA-256.",
    params=Params,
    result=Result,
    run=run,
    needs_source=True,
    limits=Limits(run_seconds=7200),
)

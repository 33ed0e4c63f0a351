"""The whole task on one file, as an attempt would run it."""

import json
from pathlib import Path
from typing import Any

from services.processor.task import Outcome, Work
from services.processor.tasks.pointcloud_ingest import TASK, Params


def ingest(source: Path, folder: Path, **params: object) -> Outcome:
    """Mill a file into `folder`/out."""
    out, scratch = folder / "out", folder / "scratch"
    for place in (out, scratch):
        place.mkdir(parents=True)
    work = Work(
        source=source,
        source_name=source.name,
        out=out,
        scratch=scratch,
        memory_bytes=1 << 30,
        workers=1,
        progress=lambda _stage, _fraction, _message, _left=None: None,
        log=lambda _line: None,
    )
    return TASK.run(Params.model_validate(params), work)


def read_product(outcome: Outcome, name: str) -> dict[str, Any]:
    """A JSON product."""
    (path,) = (product.path for product in outcome.products if product.name == name)
    read: dict[str, Any] = json.loads(path.read_text())
    return read

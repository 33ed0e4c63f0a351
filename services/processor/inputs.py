"""The inputs of a job: products of other jobs, on local disk and verified."""

from pathlib import Path

from services.processor.resources import Processor
from shared.db import Row
from shared.errors import ChecksumMismatch, ObjectMissing, TaskFailed


async def fetch_inputs(processor: Processor, job: Row, folder: Path) -> dict[str, Path]:
    """Download the products that the order names into `folder`, and say where, by the names it gives them.

    Raises:
        TaskFailed: a job that was named has not made the product, or it is gone.
        ChecksumMismatch: what the store holds is not what the product's row says; retryable.
    """
    if not job["inputs"]:
        return {}
    rows = await processor.database.rows("read_inputs", job["workspace_id"], job["inputs"])
    # All are looked for before the first is downloaded.
    for row in rows:
        if row["object"] is None:
            raise _missing(row, f"Job {row['job']} has no product {row['product']}")
    return {row["name"]: await _fetch(processor, row, folder) for row in rows}


async def _fetch(processor: Processor, row: Row, folder: Path) -> Path:
    path = folder / f"input-{row['name']}{Path(row['object']).suffix}"
    try:
        info = await processor.objects.download(row["object"], path)
    except ObjectMissing as error:
        raise _missing(
            row, f"The product {row['product']} of job {row['job']} is no longer in the store"
        ) from error
    if info.crc32c != row["crc32c"]:
        raise ChecksumMismatch(
            f"The stored product {row['product']} of job {row['job']} is not the one that was made."
        )
    return path


def _missing(row: Row, what: str) -> TaskFailed:
    return TaskFailed(
        "input_missing",
        "An input of the job is not there",
        f"{what}; it was to be the input {row['name']}.",
        "See what a job has made under /v1/jobs/{id}/products, and order a new job with that.",
    )

"""One attempt of one job: fetch the file, run the task, store what it made. Writes no row."""

import asyncio
import hashlib
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.processor.inputs import fetch_inputs
from services.processor.progress import Reporter, reporting
from services.processor.resources import Processor
from services.processor.runner import Answer, LogTail, Order, run_child
from services.processor.settings import Settings
from services.processor.task import Task
from services.processor.watch import Bounds
from shared.db import Row
from shared.errors import ChecksumMismatch, ObjectMissing, TaskFailed

# The pace of storing that is reckoned with until it is seen: 100 MB a second.
_STORE_BYTES = 5_000_000
_STORE_SECONDS = 0.05


@dataclass(frozen=True)
class Done:
    """A successful attempt: its result, and its products as the `products` table takes them."""

    result: dict[str, Any]
    products: list[dict[str, Any]]


async def run_attempt(processor: Processor, job: Row, folder: Path, log: LogTail) -> Done:
    """Do the work of a claimed job in `folder`, which is empty and belongs to this attempt.

    Raises:
        PointmillError: the attempt has failed; `retryable` says whether another may succeed.
    """
    task = processor.tasks[job["kind"]]
    for name in ("in", "out", "scratch"):
        (folder / name).mkdir()
    source, source_name = await _fetch_source(processor, task, job, folder / "in")
    inputs = await fetch_inputs(processor, job, folder / "in")
    await processor.failpoints.reach("processor.job.downloaded")
    order = Order(
        kind=task.kind,
        params=job["params"],
        source=source,
        source_name=source_name,
        out=folder / "out",
        scratch=folder / "scratch",
        memory_bytes=processor.settings.memory,
        workers=processor.settings.workers,
        sandbox=processor.settings.sandbox_required,
        inputs=inputs,
    )
    async with reporting(processor, job) as report:
        answer = await run_child(
            processor.forks,
            order,
            _bounds(processor.settings, task, folder),
            on_progress=report,
            log=log,
        )
        await processor.failpoints.reach("processor.job.computed")
        products = await _store(processor, job, answer, folder / "out", report)
    await processor.failpoints.reach("processor.job.stored")
    return Done(answer.result, products)


def _bounds(settings: Settings, task: Task, folder: Path) -> Bounds:
    """What this attempt may take: a full disk would harm more than the job."""
    free = shutil.disk_usage(folder).free
    return Bounds(
        seconds=task.limits.run_seconds,
        memory_bytes=int(settings.memory * settings.memory_factor),
        scratch_bytes=min(settings.scratch_bytes, free * 9 // 10),
        processes=4 * settings.workers + 64,
    )


async def _fetch_source(
    processor: Processor, task: Task, job: Row, folder: Path
) -> tuple[Path | None, str | None]:
    """The cloud's file on local disk, verified; nothing for a kind that needs none."""
    if not task.needs_source:
        return None, None
    source = await processor.database.row("read_source", job["cloud_id"], job["workspace_id"])
    if source is None:
        raise TaskFailed(
            "source_missing",
            "The job has no file",
            f"{task.kind} works on a cloud's file, and this job names no cloud that has one.",
            "Name a cloud whose upload is complete.",
        )
    suffix = Path(source["source_name"]).suffix.lower()
    path = folder / f"source{suffix}"
    try:
        info = await processor.objects.download(source["source_object"], path)
    except ObjectMissing as error:
        raise TaskFailed(
            "source_lost", error.title, "The cloud's file is no longer in the store.", error.remedy
        ) from error
    if info.crc32c != source["source_crc32c"]:
        raise ChecksumMismatch("The stored file is not the one that was uploaded.")
    return path, source["source_name"]


async def _store(
    processor: Processor, job: Row, answer: Answer, out: Path, report: Reporter
) -> list[dict[str, Any]]:
    """Put every product under this attempt's own prefix; they exist for the world only through the row."""
    paths = [await _own_path(product, out) for product in answer.products]
    left, began, stored = sum(path.stat().st_size for path in paths), time.monotonic(), []
    done = 0
    for product, path in zip(answer.products, paths, strict=True):
        pace = (time.monotonic() - began + _STORE_SECONDS) / (done + _STORE_BYTES)
        report(
            {
                "stage": "store",
                "fraction": 1.0,
                "message": f"Storing {product['name']}",
                "eta_seconds": round(left * pace, 1),
            }
        )
        key = f"{job['workspace_id']}/jobs/{job['id']}/{job['attempt']}/{_object_name(product['name'], path)}"
        info = await processor.objects.create_from_file(key, path, media_type=product["media_type"])
        stored.append(
            {
                "name": product["name"],
                "object": key,
                "media_type": product["media_type"],
                "bytes": info.size,
                "crc32c": info.crc32c,
                "sha256": await asyncio.to_thread(_sha256, path),
            }
        )
        done, left = done + info.size, left - info.size
    return stored


async def _own_path(product: dict[str, str], out: Path) -> Path:
    """Where the product lies, if that is in the attempt's own folder."""
    path = Path(product["path"])
    if not await asyncio.to_thread(_is_own, path, out):
        raise TaskFailed(
            "product_outside",
            "The task named a file that is not its own",
            f"The product {product['name']} is not a file in the attempt's folder.",
            "Tell the operators the job's id.",
        )
    return path


def _object_name(product: str, path: Path) -> str:
    """The product's name with its file's last ending: short and plain, whatever the upload was called."""
    suffix = path.suffix.lower()
    return product + (suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else "")


def _is_own(path: Path, out: Path) -> bool:
    """The child is not trusted with paths: only a plain file in its own folder is a product."""
    return path.is_file() and not path.is_symlink() and path.resolve().is_relative_to(out.resolve())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_folder(folder: Path) -> None:
    """Remove an attempt's files, whatever they are."""
    shutil.rmtree(folder, ignore_errors=True)

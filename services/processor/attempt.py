"""One attempt of one job: fetch the file, run the task, store what it made. Writes no row."""

import asyncio
import hashlib
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.processor.resources import Processor
from services.processor.runner import Answer, LogTail, Order, run_child
from services.processor.settings import Settings
from services.processor.task import Task
from services.processor.watch import Bounds
from shared.bus import Outgoing
from shared.db import Row
from shared.errors import ChecksumMismatch, ObjectMissing, TaskFailed
from shared.messages import wrap
from shared.messages.jobs import JobProgressV1
from shared.topology import PROGRESS

PROGRESS_SECONDS = 0.5


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
    )
    answer = await run_child(
        order,
        seconds=task.limits.run_seconds,
        on_progress=_Reporter(processor, job),
        log=log,
        bounds=_bounds(processor.settings, folder),
    )
    await processor.failpoints.reach("processor.job.computed")
    products = await _store(processor, job, answer, folder / "out")
    await processor.failpoints.reach("processor.job.stored")
    return Done(answer.result, products)


def _bounds(settings: Settings, folder: Path) -> Bounds:
    """What this attempt may take: a full disk would harm more than the job."""
    free = shutil.disk_usage(folder).free
    return Bounds(
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


async def _store(processor: Processor, job: Row, answer: Answer, out: Path) -> list[dict[str, Any]]:
    """Put every product under this attempt's own prefix; they exist for the world only through the row."""
    stored = []
    for product in answer.products:
        path = Path(product["path"])
        if not await asyncio.to_thread(_is_own, path, out):
            raise TaskFailed(
                "product_outside",
                "The task named a file that is not its own",
                f"The product {product['name']} is not a file in the attempt's folder.",
                "Tell the operators the job's id.",
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
    return stored


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


class _Reporter:
    """Takes the child's progress: all of it into the lease, at most two a second to live listeners."""

    def __init__(self, processor: Processor, job: Row) -> None:
        self._processor = processor
        self._job = job
        self._told = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, progress: dict[str, Any]) -> None:
        lease = self._processor.running.get(self._job["id"])
        if lease is not None:
            lease.progress = progress
        if time.monotonic() - self._told < PROGRESS_SECONDS:
            return
        self._told = time.monotonic()
        message = JobProgressV1(
            job_id=self._job["id"],
            workspace_id=self._job["workspace_id"],
            attempt=self._job["attempt"],
            **progress,
        )
        envelope = wrap(
            message,
            service="processor",
            subject=str(self._job["id"]),
            workspace=self._job["workspace_id"],
        )
        hint = Outgoing(PROGRESS, f"progress.{self._job['id']}", envelope, mandatory=False)
        task = asyncio.create_task(self._tell(hint))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, hint: Outgoing) -> None:
        await self._processor.failpoints.reach("processor.job.running")
        await self._processor.bus.publisher.hint(hint)


def remove_folder(folder: Path) -> None:
    """Remove an attempt's files, whatever they are."""
    shutil.rmtree(folder, ignore_errors=True)

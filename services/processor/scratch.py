"""The folder for running jobs' files: one per process, removed with it or by the next one."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


@contextmanager
def own_scratch(root: Path, instance: str) -> Iterator[Path]:
    """A folder of this process's own; what dead processes left under `root` is removed first.

    The lock on a folder dies with its process, so a folder whose lock is free has no owner.

    Raises:
        OSError: the folder cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_abandoned(root)
    folder = root / instance
    folder.mkdir(mode=0o700)
    lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(root: Path) -> None:
    for lock_path in root.glob(f"*/{LOCK}"):
        lock = os.open(lock_path, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its process lives
        else:
            shutil.rmtree(lock_path.parent, ignore_errors=True)
        finally:
            os.close(lock)

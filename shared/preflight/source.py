"""A file read at chosen places, never more than a budget in all."""

from pathlib import Path
from types import TracebackType
from typing import Self

BUDGET = 1 << 20
"""Bytes read from one file in all. The format's own limits keep the obligatory part under 0.7 MiB."""


class Source:
    """A file of known size; every read names its place and counts against the budget.

    Attributes:
        size: bytes in the file.
        budget: bytes that may still be read.
        bytes_read: bytes read so far.
    """

    def __init__(self, path: Path, budget: int = BUDGET) -> None:
        # Unbuffered: a buffer would read 8 KiB for each 54-byte record header.
        self._file = path.open("rb", buffering=0)
        self.size = self._file.seek(0, 2)
        self.budget = budget
        self.bytes_read = 0

    def __enter__(self) -> Self:
        """Keep the file open until the block ends."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def at(self, offset: int, length: int) -> bytes:
        """The bytes at `offset`: fewer than `length` at the end of the file or of the budget."""
        if offset < 0 or offset >= self.size:
            return b""
        self._file.seek(offset)
        data = self._file.read(max(0, min(length, self.size - offset, self.budget)))
        self.budget -= len(data)
        self.bytes_read += len(data)
        return data

"""A part of a file as a file of its own, between a head and a tail that are held in memory."""

import io
import os
from typing import BinaryIO, cast

_BUFFER = 1 << 20


class _Excerpt(io.RawIOBase):
    def __init__(self, head: bytes, file: BinaryIO, offset: int, size: int, tail: bytes) -> None:
        super().__init__()
        self._head, self._tail = head, tail
        self._file, self._offset, self._size = file, offset, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        whole = len(self._head) + self._size + len(self._tail)
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: whole}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(_BUFFER) or b"", b""))

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        memory = memoryview(buffer).cast("B")
        at = self._position - len(self._head)
        if at < 0:
            piece = self._head[self._position :][: len(memory)]
        elif at < self._size:
            self._file.seek(self._offset + at)
            piece = self._file.read(min(len(memory), self._size - at))
        else:
            piece = self._tail[at - self._size : at - self._size + len(memory)]
        memory[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def open_excerpt(head: bytes, file: BinaryIO, offset: int, size: int, tail: bytes) -> BinaryIO:
    """A buffered stream of `head`, `size` bytes of `file` from `offset`, and `tail`."""
    return cast("BinaryIO", io.BufferedReader(_Excerpt(head, file, offset, size, tail), _BUFFER))

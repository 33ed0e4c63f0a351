"""The file of the rescued points: a plain LAS with the header and the records of the damaged one."""

import struct
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from services.processor.pointcloud.failures import writing_failed
from services.processor.pointcloud.las.source import Carried, Source

_VLR_HEAD, _EVLR_HEAD = 54, 60
_BLOCK = 1 << 20


class RescuedFile:
    """Written in three steps: the head when it is opened, the points by others, `finish`.

    Left out are the records that speak of chunks: there are none any more. Raises TaskFailed
    `scratch_full` or `scratch_failed` where it cannot be written.
    """

    def __init__(self, path: Path, source: Source) -> None:
        self.path = path
        self._source = source
        self._kept = [record for record in source.carried if not _about_chunks(record)]
        with source.path.open("rb") as damaged:
            head = damaged.read(96)
            size = int(struct.unpack_from("<H", head, 94)[0])
            self._head = bytearray(head + damaged.read(size - len(head)))
            vlrs = [self._raw(damaged, record) for record in self._kept if not record.extended]
        self.points_at = len(self._head) + sum(map(len, vlrs))
        struct.pack_into("<II", self._head, 96, self.points_at, len(vlrs))
        self._head[104] = source.point_format
        try:
            self._file = path.open("w+b")
            self._file.write(self._head + b"".join(vlrs))
            self._file.flush()
        except OSError as error:
            raise writing_failed(error) from error

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

    def place_of(self, point: int) -> int:
        """The byte where this point goes."""
        return self.points_at + point * self._source.record_length

    def append(self, point: int, records: memoryview) -> None:
        """Write records from this point on."""
        try:
            self._file.seek(self.place_of(point))
            self._file.write(records)
        except OSError as error:
            raise writing_failed(error) from error

    def finish(self, points: int) -> None:
        """Put the extended records behind the points, and the true counts into the header."""
        try:
            end = self.place_of(points)
            self._file.truncate(end)
            self._file.seek(end)
            extended = [record for record in self._kept if record.extended]
            with self._source.path.open("rb") as damaged:
                for record in extended:
                    self._copy(damaged, record)
            self._write_counts(points, end if extended else 0, len(extended))
            self._file.flush()
        except OSError as error:
            raise writing_failed(error) from error

    def _write_counts(self, points: int, evlrs_at: int, evlrs: int) -> None:
        head, version = self._head, self._source.version
        (stated,) = struct.unpack_from("<I", head, 107)
        if stated or version < (1, 4):
            struct.pack_into("<I", head, 107, min(points, 0xFFFFFFFF))
        if version >= (1, 3):
            struct.pack_into("<Q", head, 227, 0)  # the waveforms stay in the damaged file
        if version >= (1, 4):
            struct.pack_into("<QIQ", head, 235, evlrs_at, evlrs, points)
        self._file.seek(0)
        self._file.write(head)

    def _copy(self, damaged: BinaryIO, record: Carried) -> None:
        damaged.seek(record.offset - _EVLR_HEAD)
        left = _EVLR_HEAD + record.length
        while left > 0 and (block := damaged.read(min(left, _BLOCK))):
            self._file.write(block)
            left -= len(block)

    def _raw(self, damaged: BinaryIO, record: Carried) -> bytes:
        damaged.seek(record.offset - _VLR_HEAD)
        return damaged.read(_VLR_HEAD + record.length)


def _about_chunks(record: Carried) -> bool:
    user = record.user_id.lower()
    return user == "copc" or (user, record.record_id) == ("laszip encoded", 22204)

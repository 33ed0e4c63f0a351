"""Points on their way: scratch files of records, grouped by octree cell, and where each group lies.

A pack file is written by one range of the source, in batches; within a batch the records of a cell
lie together. Reading a cell's pieces in the order of packs and offsets gives its records in the
order of the source, whoever wrote them: that is what makes the product independent of the number
of processes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from services.processor.pointcloud.failures import writing_failed
from services.processor.pointcloud.las.records import Records, as_bytes
from services.processor.pointcloud.octree.morton import Codes, Key

_BLOCK_BYTES = 1 << 20


class Piece(NamedTuple):
    """`points` records at byte `offset` of the pack file `pack`."""

    pack: str
    offset: int
    points: int


@dataclass(frozen=True)
class Cell:
    """An octree node whose whole content one process builds at once."""

    key: Key
    pieces: tuple[Piece, ...]

    @property
    def points(self) -> int:
        """How many points lie in the cell."""
        return sum(piece.points for piece in self.pieces)


class Pack:
    """A pack file being written; `pieces` says where the records of every code are."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._file = (folder / name).open("wb", buffering=0)
        self._position = 0
        self.pieces: dict[int, list[Piece]] = {}

    def write(self, records: Records, codes: Codes, levels: int) -> None:
        """Append the records, grouped by their codes, which have `levels` levels."""
        small = codes.astype(np.uint16 if levels <= 5 else np.uint64)
        order = np.argsort(small, kind="stable")
        found, counts = np.unique(small[order], return_counts=True)
        # Grouped a little at a time: a second batch of all of them would be as large as the first.
        rows, block = as_bytes(records), max(_BLOCK_BYTES // records.dtype.itemsize, 1)
        for start in range(0, len(order), block):
            write_whole(self._file, np.take(rows, order[start : start + block], axis=0).data)
        for code, count in zip(found.tolist(), counts.tolist(), strict=True):
            self.pieces.setdefault(code, []).append(Piece(self._name, self._position, count))
            self._position += count * records.dtype.itemsize

    def __enter__(self) -> Self:
        """Nothing more to open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; what is in it stays."""
        self._file.close()


def write_whole(file: FileIO, memory: memoryview) -> None:
    """Write all of `memory`; a full disk is a TaskFailed `scratch_full`."""
    left = memory.cast("B")
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise writing_failed(error) from error


def read_cell(folder: Path, cell: Cell, dtype: np.dtype[np.void]) -> Records:
    """All records of the cell, in the order of the source."""
    records = np.empty(cell.points, dtype)
    memory = records.view(np.uint8).data
    position = 0
    for pack, pieces in _by_pack(cell.pieces):
        with (folder / pack).open("rb", buffering=0) as file:
            for piece in pieces:
                file.seek(piece.offset)
                end = position + piece.points * dtype.itemsize
                while position < end:
                    got = file.readinto(memory[position:end])
                    if not got:
                        raise EOFError(f"the pack file {pack} is shorter than its index")
                    position += got
    return records


def read_cell_batches(
    folder: Path, cell: Cell, dtype: np.dtype[np.void], size: int
) -> Iterator[Records]:
    """The records of a cell too large for memory, about `size` at a time, in source order."""
    held: list[Piece] = []
    for piece in cell.pieces:
        for start in range(0, piece.points, size):
            count = min(size, piece.points - start)
            held.append(Piece(piece.pack, piece.offset + start * dtype.itemsize, count))
            if sum(part.points for part in held) >= size:
                yield read_cell(folder, Cell(cell.key, tuple(held)), dtype)
                held = []
    if held:
        yield read_cell(folder, Cell(cell.key, tuple(held)), dtype)


def _by_pack(pieces: Iterable[Piece]) -> Iterator[tuple[str, list[Piece]]]:
    """Runs of pieces in the same pack."""
    run: list[Piece] = []
    for piece in pieces:
        if run and run[-1].pack != piece.pack:
            yield run[0].pack, run
            run = []
        run.append(piece)
    if run:
        yield run[0].pack, run

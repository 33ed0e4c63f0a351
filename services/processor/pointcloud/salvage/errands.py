"""What a prober is told, and what it answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from services.processor.pointcloud.las.layers import Compression
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.salvage.suspects import Fence

Daring = Literal["lazrs", "laszip"]

POINTS_A_SECOND = 100_000
"""A decoder slower than that has lost its way; sound points take a tenth or less."""

PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class Site:
    """What does not change from errand to errand; `rescued` is the file to write records to."""

    source: Source
    compression: Compression
    fence: Fence | None
    rescued: Path
    memory_bytes: int


@dataclass(frozen=True)
class Errand:
    """Decode the bytes `start` to `end` of the source, which begin with a chunk.

    Attributes:
        decoder: what to decode with; only laszip can go on behind the first chunk.
        points: how many to decode.
        skip: how many of them are known already.
        step: how many to decode between one word and the next.
        write_at: byte of the rescued file where the first one that is not known goes.
    """

    decoder: Daring
    start: int
    end: int
    points: int
    skip: int
    step: int
    write_at: int


class Batch(NamedTuple):
    """Points that are written; `outside` of them, from `first` to `last`, lie outside the bounds.

    `same` is known with the last batch of a chunk: whether all its points, compressed again, give
    the very bytes they came from. LAZ has no checksum; this finds most of the wrong bits.
    """

    points: int
    outside: int = 0
    first: int = 0
    last: int = 0
    same: bool | None = None

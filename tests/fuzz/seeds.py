"""Sound files to mutate: small ones of every kind that the engine reads, and real ones if there are any."""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import laspy
import numpy as np

from tests.fixtures.corpus import read_corpus
from tests.fixtures.honest import chunked, copc, las, laz, with_fields

POINTS = 400
CHUNK = 150
LARGEST_REAL_FILE = 200_000


@dataclass(frozen=True)
class Seed:
    """A sound file."""

    name: str
    data: bytes

    @property
    def suffix(self) -> str:
        """The ending that its name should have."""
        return ".laz" if self.data[104] & 0x80 else ".las"


def seeds() -> list[Seed]:
    """All of them, in the same order every time on the same corpus."""
    return [*_made(), *_real()]


def _made() -> Iterator[Seed]:
    for point_format in range(11):
        yield Seed(f"las-{point_format}", las(point_format, POINTS))
        yield Seed(f"laz-{point_format}", chunked(point_format, POINTS, CHUNK))
    for point_format in (1, 7):
        yield Seed(f"extra-las-{point_format}", _with_extra_bytes(point_format, compress=False))
        yield Seed(f"extra-laz-{point_format}", _with_extra_bytes(point_format, compress=True))
    yield Seed("laz-usual-chunks-3", laz(3, 2000))
    yield Seed("laz-usual-chunks-6", laz(6, 2000))
    yield Seed("copc", copc(POINTS))
    yield Seed("extended", _with_extended_records())
    yield Seed("empty", las(7, 0))


def _with_extra_bytes(point_format: int, *, compress: bool) -> bytes:
    points = laspy.read(io.BytesIO(las(point_format, POINTS)))
    points.add_extra_dims([laspy.ExtraBytesParams("a", "f8"), laspy.ExtraBytesParams("b", "u2")])
    points["a"] = np.arange(POINTS) / 7
    stream = io.BytesIO()
    points.write(stream, do_compress=compress, laz_backend=laspy.LazBackend.Lazrs)
    return stream.getvalue()


def _with_extended_records() -> bytes:
    data = chunked(6, POINTS, CHUNK)
    record = struct.pack("<H16sHQ32s", 0, b"somebody", 7, 500, b"") + bytes(500)
    return with_fields(data + 2 * record, evlr_offset=len(data), evlr_count=2)


def _real() -> Iterator[Seed]:
    for file in read_corpus("valid", "odd"):
        if file.path.stat().st_size <= LARGEST_REAL_FILE:
            yield Seed(file.name, file.path.read_bytes())

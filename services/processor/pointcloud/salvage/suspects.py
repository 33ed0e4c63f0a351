"""Points outside the header's bounds: in a damaged file, most likely ones that a flipped bit moved."""

import math
from dataclasses import dataclass

import numpy as np

from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.las.source import Source

_AXES = ("X", "Y", "Z")


@dataclass(frozen=True)
class Fence:
    """The header's bounds in the integers of the records, one step wider on every side."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    def outside(self, records: Records) -> tuple[int, int, int]:
        """How many records lie outside, and the first and the last of them (0, 0 for none)."""
        out = np.zeros(len(records), bool)
        for axis, low, high in zip(_AXES, self.low, self.high, strict=True):
            out |= (records[axis] < low) | (records[axis] > high)
        places = np.flatnonzero(out)
        if not len(places):
            return 0, 0, 0
        return len(places), int(places[0]), int(places[-1])


def fence_of(source: Source) -> Fence | None:
    """The fence of a source; None where its header has no bounds that could be true."""
    low, high = [], []
    for scale, offset, least, most in zip(
        source.scales, source.offsets, source.mins, source.maxs, strict=True
    ):
        steps = sorted(((least - offset) / scale, (most - offset) / scale))
        if not all(map(math.isfinite, steps)) or least > most:
            return None
        low.append(math.floor(steps[0]) - 1)
        high.append(math.ceil(steps[1]) + 1)
    if not any((*source.mins, *source.maxs)):
        return None
    (x, y, z), (xx, yy, zz) = low, high
    return Fence((x, y, z), (xx, yy, zz))

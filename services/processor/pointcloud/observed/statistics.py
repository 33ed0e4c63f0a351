"""Counts and distributions of every dimension, gathered cell by cell; the order does not matter.

Dimensions of at most 16 bits are counted value by value: everything about them is exact. Others
(coordinates, times, extra dimensions) fall into 65536 bins between their exact minimum and maximum;
their percentiles are exact to one bin. Sums are integers, so that no rounding depends on the order.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.observed.ranges import Ranges

Counts = NDArray[np.int64]

_BINS = 1 << 16
_FINE = 30
"""Values are summed as fractions of their range with this many bits."""

_COUNTED = {
    "intensity": 1 << 16,
    "returns": 1 << 8,
    "flags": 1 << 8,
    "classification": 1 << 8,
    "user_data": 1 << 8,
    "scan_angle": 1 << 16,
    "point_source_id": 1 << 16,
    "red": 1 << 16,
    "green": 1 << 16,
    "blue": 1 << 16,
    "nir": 1 << 16,
}
_ALWAYS = frozenset({"returns", "classification"})
_BINNED = ("X", "Y", "Z", "gps_time")


@dataclass
class Tally:
    """What has been counted so far.

    Attributes:
        ranges: minimum and maximum of all points, known before counting begins.
        whole: whether all dimensions are counted, or just returns and classes, which every
            header and certificate tells.
        counted: points by value; signed values are counted at `value & 0xFFFF`.
        binned: points by bin between minimum and maximum; values that are not finite have none.
        sums: for binned dimensions the sum of `(value - minimum) / (maximum - minimum) * 2**30`.
    """

    ranges: Ranges
    whole: bool = True
    counted: dict[str, Counts] = field(default_factory=dict)
    binned: dict[str, Counts] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)

    def add(self, records: Records) -> None:
        """Count these records."""
        names = records.dtype.names or ()
        for name, size in _COUNTED.items():
            if name in names and (self.whole or name in _ALWAYS):
                values = records[name]
                plain = values.view(np.uint16) if values.dtype == np.int16 else values
                self._count(name, np.bincount(plain, minlength=size))
        if not self.whole:
            return
        for name in _BINNED:
            self._bin(name, records[name])
        for dimension in self.ranges.extra:
            self._bin(f"extra:{dimension.name}", dimension.raw(records))

    def merge(self, other: "Tally") -> None:
        """Add what another has counted."""
        for name, counts in other.counted.items():
            self._count(name, counts)
        for name, counts in other.binned.items():
            self._sum_up(name, counts, other.sums[name])

    def _count(self, name: str, counts: Counts) -> None:
        known = self.counted.get(name)
        self.counted[name] = counts if known is None else known + counts

    def _sum_up(self, name: str, counts: Counts, total: int) -> None:
        known = self.binned.get(name)
        self.binned[name] = counts if known is None else known + counts
        self.sums[name] = self.sums.get(name, 0) + total

    def _bin(self, name: str, values: NDArray[Any]) -> None:
        if name not in self.ranges.by_name:
            return
        low, high = self.ranges.by_name[name]
        if not math.isfinite(high - low):
            return
        place = values.astype(np.float64)
        # Values that are no numbers stay none, and are left out below.
        with np.errstate(invalid="ignore"):
            place -= low
            if high > low:
                # Dividing first keeps the tiniest ranges from overflowing.
                place /= high - low
                place *= (1 << _FINE) - 1
        if values.dtype.kind == "f":
            place = place[np.isfinite(place)]
        fine = place.astype(np.int64)
        bins = np.bincount(fine >> (_FINE - 16), minlength=_BINS)
        self._sum_up(name, bins, int(fine.sum()))

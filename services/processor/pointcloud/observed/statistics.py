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

_BLOCK = 1 << 14
"""Values whose intermediate results fit into a processor's cache."""

_COUNTED = (
    ("intensity",),
    ("returns", "flags"),
    ("classification", "user_data"),
    ("scan_angle",),
    ("point_source_id",),
    ("red",),
    ("green",),
    ("blue",),
    ("nir",),
)
"""Sixteen bits of a record each: one dimension, or two single bytes counted at the cost of one."""

_COLOURS = ("red", "green", "blue", "nir")
_ALWAYS = ("returns", "classification")
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
        if not self.whole:
            for name in _ALWAYS:
                self._count(name, np.bincount(records[name], minlength=256))
            return
        for names in _COUNTED:
            if names[0] in (records.dtype.names or ()):
                self._count_together(names, _sixteen_bits(records, names[0]))
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

    def _count_together(self, names: tuple[str, ...], values: NDArray[np.uint16]) -> None:
        if names[0] in _COLOURS:
            # Most have eight bits, moved up: their counters lie side by side, not 2 KiB apart, where
            # a processor's cache has room for few, if the lower byte is taken for the upper one.
            swapped = np.bincount(values.view(">u2"), minlength=1 << 16)
            self._count(names[0], swapped.reshape(256, 256).T.reshape(-1))
            return
        counts = np.bincount(values, minlength=1 << 16)
        if len(names) == 1:
            self._count(names[0], counts)
            return
        for axis, name in enumerate(names):
            self._count(name, counts.reshape(256, 256).sum(axis=axis))

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
        bins = np.empty(len(values), np.int64)
        filled = total = 0
        for start in range(0, len(values), _BLOCK):
            place = values[start : start + _BLOCK].astype(np.float64)
            # Values that are no numbers stay none, and are left out below.
            with np.errstate(invalid="ignore"):
                place -= low
                if high > low:
                    # Dividing first keeps the tiniest ranges from overflowing.
                    place /= high - low
                    place *= (1 << _FINE) - 1
            if self.ranges.unusable.get(name):
                place = place[np.isfinite(place)]
            fine = bins[filled : filled + len(place)]
            fine[...] = place
            total += int(fine.sum())
            fine >>= _FINE - 16
            filled += len(place)
        self._sum_up(name, np.bincount(bins[:filled], minlength=_BINS), total)


def _sixteen_bits(records: Records, first: str) -> NDArray[np.uint16]:
    """The field `first` of each record; above a single byte, the one behind it."""
    fields = records.dtype.fields
    if fields is None:
        raise TypeError("records are structured")
    alone = np.dtype(
        {
            "names": [first],
            "formats": ["<u2"],
            "offsets": [fields[first][1]],
            "itemsize": records.itemsize,
        }
    )
    found: NDArray[np.uint16] = records.view(alone)[first]
    return found

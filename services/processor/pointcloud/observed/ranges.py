"""The smallest and largest value of every dimension, gathered while the points are first read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.extra import ExtraDimension
from services.processor.pointcloud.las.records import Records

_MEASURED = ("X", "Y", "Z", "gps_time", "red", "green", "blue", "nir")


@dataclass
class Ranges:
    """Lowest and highest value by dimension; a dimension without finite values is absent.

    Extra dimensions are named `extra:<name>` and measured as stored, before scale and offset.
    `unusable` counts the values that are not finite.
    """

    extra: tuple[ExtraDimension, ...]
    points: int = 0
    unusable: dict[str, int] = field(default_factory=dict)
    by_name: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, records: Records) -> None:
        """Take these records into account."""
        self.points += len(records)
        names = records.dtype.names or ()
        for name in _MEASURED:
            if name in names:
                self._widen(name, records[name])
        for dimension in self.extra:
            self._widen(f"extra:{dimension.name}", dimension.raw(records))

    def merge(self, other: "Ranges") -> None:
        """Take what another has gathered into account."""
        self.points += other.points
        for name, count in other.unusable.items():
            self.unusable[name] = self.unusable.get(name, 0) + count
        for name, (low, high) in other.by_name.items():
            self._include(name, low, high)

    def _widen(self, name: str, values: NDArray[Any]) -> None:
        if not len(values):
            return
        low, high = values.min(), values.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = values[np.isfinite(values)]
            missing = len(values) - len(finite)
            self.unusable[name] = self.unusable.get(name, 0) + missing
            if not len(finite):
                return
            low, high = finite.min(), finite.max()
        self._include(name, low.item(), high.item())

    def _include(self, name: str, low: float, high: float) -> None:
        known = self.by_name.get(name, (low, high))
        self.by_name[name] = (min(known[0], low), max(known[1], high))

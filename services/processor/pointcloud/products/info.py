"""What there is to know about a cloud: counts, bounds, distributions, density, coordinate system."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.crs import CloudCrs, describe_crs
from services.processor.pointcloud.las.lengths import length_unit
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.mill import Milled
from services.processor.pointcloud.observed.statistics import Tally
from services.processor.pointcloud.observed.surface import occupied_area
from services.processor.pointcloud.products.kind import Cloud, ProductKind

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_HISTOGRAM_BINS = 64
_SCAN_ANGLE_UNIT = 0.006
CLASS_NAMES = (
    "never classified",
    "unclassified",
    "ground",
    "low vegetation",
    "medium vegetation",
    "high vegetation",
    "building",
    "low point (noise)",
    "model key point / reserved",
    "water",
    "rail",
    "road surface",
    "overlap / reserved",
    "wire - guard",
    "wire - conductor",
    "transmission tower",
    "wire-structure connector",
    "bridge deck",
    "high noise",
    "overhead structure",
    "ignored ground",
    "snow",
    "temporal exclusion",
)
_FLAGS = ("synthetic", "key_point", "withheld", "overlap")


@dataclass(frozen=True)
class Distribution:
    """Points by value: bin `i` holds those from `low + i * step` up to the next bin.

    `exact` bins hold one value each; `lowest` and `highest` are the true ends of the values.
    """

    counts: NDArray[np.int64]
    low: float
    step: float
    exact: bool
    lowest: float
    highest: float
    mean: float

    def percentile(self, percent: float) -> float:
        """The value below which this share of the points lies, exact to one bin."""
        total = np.cumsum(self.counts)
        if not total[-1]:
            return self.lowest
        target = percent / 100 * total[-1]
        at = int(np.searchsorted(total, max(target, 1)))
        if self.exact:
            return self.low + at * self.step
        before = total[at - 1] if at else 0
        inside = (target - before) / max(int(self.counts[at]), 1)
        value = self.low + (at + min(max(inside, 0.0), 1.0)) * self.step
        return float(min(max(value, self.lowest), self.highest))


def write(cloud: Cloud, path: Path) -> None:
    """Write info.json."""
    facts = describe(cloud.source, cloud.crs, cloud.milled)
    path.write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")


PRODUCT = ProductKind(
    name="info",
    file="info.json",
    media_type="application/json",
    title="Facts and distributions",
    needs=frozenset({"statistics", "surface"}),
    write=write,
)


def describe(source: Source, crs: CloudCrs, milled: Milled) -> dict[str, Any]:
    """The content of info.json. It depends on the cloud only, not on how it was milled."""
    tally, product = milled.tally, milled.product
    empty = np.zeros(256, np.int64)
    returns = tally.counted.get("returns", empty).reshape(16, 16)
    flags = tally.counted.get("flags", empty)
    return {
        "points": product.points,
        "point_format": product.point_format,
        "bounds": {"min": product.mins, "max": product.maxs} if product.points else None,
        "crs": describe_crs(crs),
        "classes": _classes(tally.counted.get("classification", empty)),
        "returns": _by_number(returns.sum(axis=0)),
        "returns_of_pulse": _by_number(returns.sum(axis=1)),
        "flags": {name: _with_bit(flags, bit) for bit, name in enumerate(_FLAGS)},
        "density": describe_density(milled, crs),
        "dimensions": {
            name: _describe_distribution(distribution)
            for name, distribution in distributions(source, tally).items()
        },
        "octree": {"nodes": milled.nodes, "depth": milled.depth, "side": product.cube.side},
        "source": {
            "version": ".".join(map(str, source.version)),
            "point_format": source.point_format,
            "record_length": source.record_length,
            "compressed": source.sent.compressed,
            "bytes": source.sent.size,
            "system": source.system_id.split(b"\0")[0].decode("latin-1").strip(),
            "software": source.software.strip(),
            "created": [source.creation_year, source.creation_day],
        },
    }


def distributions(source: Source, tally: Tally) -> dict[str, Distribution]:
    """The distribution of every dimension that has values, in the units people use."""
    found: dict[str, Distribution] = {}
    for axis, name in enumerate(("X", "Y", "Z")):
        if name in tally.binned:
            found[name.lower()] = _binned(tally, name, source.scales[axis], source.offsets[axis])
    for name, counts in tally.counted.items():
        if name not in ("returns", "flags") and counts.any():
            found[name] = _counted(counts, signed=name == "scan_angle")
    if "gps_time" in tally.binned:
        found["gps_time"] = _binned(tally, "gps_time", 1.0, 0.0)
    for dimension in tally.ranges.extra:
        if (name := f"extra:{dimension.name}") in tally.binned:
            found[name] = _binned(tally, name, dimension.scale, dimension.offset)
    return found


def _counted(counts: NDArray[np.int64], *, signed: bool) -> Distribution:
    low, step = 0.0, 1.0
    if signed:
        counts = np.roll(counts, len(counts) // 2)
        low, step = -_SCAN_ANGLE_UNIT * (len(counts) // 2), _SCAN_ANGLE_UNIT
    present = np.flatnonzero(counts)
    values = low + step * present
    mean = float((values * counts[present]).sum() / counts.sum())
    return Distribution(counts, low, step, True, float(values[0]), float(values[-1]), mean)


def _binned(tally: Tally, name: str, scale: float, offset: float) -> Distribution:
    counts = tally.binned[name]
    first, last = (end * scale + offset for end in tally.ranges.by_name[name])
    points = int(counts.sum())
    share = tally.sums[name] / points / ((1 << 30) - 1) if points else 0.0
    if last < first:
        counts, first, last, share = counts[::-1], last, first, 1 - share
    return Distribution(
        counts=counts,
        low=first,
        step=(last - first) / len(counts),
        exact=False,
        lowest=first,
        highest=last,
        mean=first + share * (last - first),
    )


def _describe_distribution(distribution: Distribution) -> dict[str, Any]:
    return {
        "min": distribution.lowest,
        "max": distribution.highest,
        "mean": distribution.mean,
        "percentiles": {str(percent): distribution.percentile(percent) for percent in _PERCENTILES},
        "histogram": _histogram(distribution),
    }


def _histogram(distribution: Distribution) -> dict[str, Any]:
    """At most 64 bins of equal width between the lowest and the highest value."""
    present = np.flatnonzero(distribution.counts)
    if not len(present):
        return {"low": distribution.lowest, "high": distribution.highest, "counts": []}
    first, last = int(present[0]), int(present[-1])
    width = -(-(last - first + 1) // _HISTOGRAM_BINS)
    bins = -(-(last - first + 1) // width)
    padded = np.zeros(bins * width, np.int64)
    padded[: last - first + 1] = distribution.counts[first : last + 1]
    low = distribution.low + first * distribution.step
    return {
        "low": low,
        "high": low + bins * width * distribution.step,
        "counts": padded.reshape(bins, width).sum(axis=1).tolist(),
    }


def _classes(counts: NDArray[np.int64]) -> dict[str, Any]:
    def name(number: int) -> str:
        if number < len(CLASS_NAMES):
            return CLASS_NAMES[number]
        return "reserved" if number < 64 else "user defined"

    return {
        str(number): {"name": name(number), "points": int(counts[number])}
        for number in np.flatnonzero(counts).tolist()
    }


def _by_number(counts: NDArray[np.int64]) -> dict[str, int]:
    return {str(number): int(counts[number]) for number in np.flatnonzero(counts).tolist()}


def _with_bit(counts: NDArray[np.int64], bit: int) -> int:
    return int(counts[(np.arange(len(counts)) >> bit) & 1 == 1].sum())


def describe_density(milled: Milled, crs: CloudCrs) -> dict[str, Any] | None:
    """Points per square unit of ground, square metres for degrees; None where there is no area."""
    surface, product = milled.surface, milled.product
    if surface is None:
        return None
    frame = surface.frame
    across = (product.maxs[0] - product.mins[0]) * frame.cell / frame.cell_x
    along = (product.maxs[1] - product.mins[1]) * frame.cell / frame.cell_y
    box, points = across * along, int(surface.layer("count").sum(dtype=np.int64))
    covered = min(occupied_area(surface), box)
    if covered <= 0:
        return None
    return {
        "points_per_square_unit": points / covered,
        "covered_area": covered,
        "bounding_area": box,
        "unit": length_unit(crs),
    }

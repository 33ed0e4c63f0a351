"""How long the stages of a mill may take, so that progress can be a fraction of time.

The figures were measured on one core of one machine (AMD EPYC, 3 to 10 million points in formats 1,
6 and 7, plain and compressed). Another machine is slower or faster as a whole, which the meter
finds out as it goes; what has to hold here is how the stages compare.
"""

import os
from collections.abc import Collection, Iterable, Mapping

from services.processor.pointcloud.las.decoder import Decoder
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.meter import Span
from services.processor.pointcloud.order import Need

# Seconds for a million records of 36 bytes; longer records take longer in proportion.
_RECORD_BYTES = 36
_SPREAD = 0.08
_CONVERT = 0.05
_DECODE = {"plain": 0.0, "lazrs": 0.32, "laszip": 0.43}
_BUILD = 0.28
_OBSERVE: dict[Need, float] = {"statistics": 0.05, "tiles": 0.09}
_USUAL_NEED = 0.015
_SURVEY = 0.06
_FINISH = 0.012
_WRITE = 0.003
_CHECK = 0.01

_AROUND_READING = 0.05
"""Seconds to get a crew to work, and to judge what was read."""

# Seconds for what is once for all, and for a million cells.
_FILTER = (0.05, 0.3)
_PRODUCTS = {
    "boundary": (0.01, 0.02),
    "chm": (0.03, 0.25),
    "contours": (0.02, 0.08),
    "density": (0.01, 0.02),
    "dsm": (0.02, 0.14),
    "dtm": (0.02, 0.14),
    "hillshade": (0.01, 0.04),
    "info": (0.01, 0.0),
    "intensity": (0.01, 0.04),
    "preview": (0.12, 0.1),
    "rgb": (0.01, 0.2),
    "tiles3d": (0.02, 0.12),
}
_USUAL_PRODUCT = (0.02, 0.1)
_PICTURE = 0.22
"""Seconds for a million pixels of the preview."""

_POINTS_PER_CELL = 8.0
_MOST_CELLS = 1 << 23


def forecast_mill(
    source: Source, needs: Collection[Need], decoder: Decoder, processes: int
) -> dict[str, Span]:
    """The stages of the mill; `processes` is 0 where this process works alone."""
    millions, busy = _millions(source), _busy(processes)
    convert = _CONVERT if source.point_format < 6 else 0.0
    read = _SPREAD + _DECODE[decoder] + convert
    build = _BUILD + sum(_OBSERVE.get(need, _USUAL_NEED) for need in needs)
    return {
        "read": Span(_AROUND_READING, millions * read / busy, busy > 1),
        "build": Span(0.0, millions * build / busy, busy > 1),
        "finish": Span(0.0, millions * _FINISH),
        "assemble": Span(0.0, millions * _WRITE),
    }


def forecast_ground(source: Source, processes: int) -> dict[str, Span]:
    """The search for the ground of a cloud that does not say it."""
    once, each = _FILTER
    survey = _millions(source) * _SURVEY / _busy(processes)
    return {"ground": Span(0.0, survey + once + each * likely_cells(source) / 1e6)}


def forecast_products(names: Iterable[str], picture_cells: int, cells: float) -> dict[str, float]:
    """Seconds for each product, if the grid seen from above has so many cells."""
    costs = {name: _PRODUCTS.get(name, _USUAL_PRODUCT) for name in names}
    seconds = {name: once + each * cells / 1e6 for name, (once, each) in costs.items()}
    if "preview" in seconds:
        seconds["preview"] += _PICTURE * picture_cells**2 / 1e6
    return seconds


def likely_cells(source: Source) -> float:
    """How many cells the grid seen from above will have, before the points have been seen."""
    return min(source.point_count / _POINTS_PER_CELL, _MOST_CELLS)


def forecast_end(source: Source, products: Mapping[str, float]) -> dict[str, Span]:
    """The stages behind the mill, for products of so many seconds."""
    return {
        "products": Span(0.0, sum(products.values())),
        "certify": Span(0.02, _millions(source) * _CHECK),
    }


def _millions(source: Source) -> float:
    return source.point_count / 1e6 * source.record_length / _RECORD_BYTES


def _busy(processes: int) -> int:
    return max(1, min(processes, len(os.sched_getaffinity(0))))

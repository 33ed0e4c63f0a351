"""How long the stages of a mill may take, so that progress can be a fraction of time.

The figures were measured on one core of one machine (AMD EPYC, 3 to 10 million points in formats 1,
6 and 7, plain and compressed). Another machine is slower or faster as a whole, which the meter
finds out as it goes; what has to hold here is how the stages compare.
"""

import os
from collections.abc import Collection, Iterable, Mapping

from services.processor.pointcloud.decoder import Decoder
from services.processor.pointcloud.meter import Span
from services.processor.pointcloud.order import Need
from services.processor.pointcloud.source import Source

# Seconds for a million records of 36 bytes; longer records take longer in proportion.
_RECORD_BYTES = 36
_SPREAD = 0.06
_CONVERT = 0.05
_DECODE = {"plain": 0.0, "lazrs": 0.34, "laszip": 0.45}
_BUILD = 0.22
_OBSERVE: dict[Need, float] = {"statistics": 0.06, "surface": 0.04, "ground": 0.05, "tiles": 0.13}
_USUAL_NEED = 0.01
_FINISH = 0.01
_WRITE = 0.005
_CHECK = 0.008

_START = 0.25
"""Seconds until a fresh interpreter has loaded what it needs."""

_PRODUCTS = {"info": (0.02, 0.0), "preview": (0.05, 0.3)}
"""Seconds for a product, and for a million cells of its grid."""

_USUAL_PRODUCT = (0.2, 0.0)


def forecast_mill(
    source: Source, needs: Collection[Need], decoder: Decoder, processes: int
) -> dict[str, Span]:
    """The stages of the mill; `processes` is 0 where this process works alone."""
    millions = _millions(source)
    busy = max(1, min(processes, len(os.sched_getaffinity(0))))
    convert = _CONVERT if source.point_format < 6 else 0.0
    read = _SPREAD + _DECODE[decoder] + convert
    build = _BUILD + sum(_OBSERVE.get(need, _USUAL_NEED) for need in needs)
    return {
        "read": Span(_START if processes else 0.0, millions * read / busy),
        "build": Span(0.0, millions * build / busy),
        "finish": Span(0.0, 0.1 + millions * _FINISH),
        "assemble": Span(0.0, millions * _WRITE),
    }


def forecast_products(names: Iterable[str], picture_cells: int) -> dict[str, float]:
    """Seconds for each product."""
    costs = {name: _PRODUCTS.get(name, _USUAL_PRODUCT) for name in names}
    return {name: once + each * picture_cells**2 / 1e6 for name, (once, each) in costs.items()}


def forecast_end(source: Source, products: Mapping[str, float]) -> dict[str, Span]:
    """The stages behind the mill, for products of so many seconds."""
    return {
        "products": Span(0.0, sum(products.values())),
        "certify": Span(0.0, _millions(source) * _CHECK),
    }


def _millions(source: Source) -> float:
    return source.point_count / 1e6 * source.record_length / _RECORD_BYTES

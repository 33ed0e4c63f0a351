"""How long the stages of a mill may take, so that progress can be a fraction of time.

The figures were measured on one core of one machine (AMD EPYC, 3 to 10 million points in formats 1,
6 and 7, plain and compressed). Another machine is slower or faster as a whole, which the meter
finds out as it goes; what has to hold here is how the stages compare.
"""

import os

from services.processor.pointcloud.decoder import Decoder
from services.processor.pointcloud.meter import Span
from services.processor.pointcloud.source import Source

# Seconds for a million records of 36 bytes; longer records take longer in proportion.
_RECORD_BYTES = 36
_SPREAD = 0.06
_CONVERT = 0.05
_DECODE = {"plain": 0.0, "lazrs": 0.34, "laszip": 0.45}
_BUILD = 0.31
_FINISH = 0.01
_WRITE = 0.005
_CHECK = 0.008

_START = 0.25
"""Seconds until a fresh interpreter has loaded what it needs."""


def forecast(source: Source, decoder: Decoder, processes: int) -> dict[str, Span]:
    """The stages after the inspection, in order; `processes` is 0 where this process works alone."""
    millions = source.point_count / 1e6 * source.record_length / _RECORD_BYTES
    busy = max(1, min(processes, len(os.sched_getaffinity(0))))
    read = _SPREAD + _DECODE[decoder]
    if source.point_format < 6:
        read += _CONVERT
    return {
        "read": Span(_START if processes else 0.0, millions * read / busy),
        "build": Span(0.0, millions * _BUILD / busy),
        "finish": Span(0.0, 0.1 + millions * _FINISH),
        "assemble": Span(0.0, 0.02 + millions * _WRITE),
        "products": Span(0.0, 0.45),
        "certify": Span(0.0, 0.01 + millions * _CHECK),
    }

"""What a LAS, LAZ or COPC file says about itself, and how it can lie; the standard library only.

`inspect(path)` reads at most 1 MiB, in well under a second, and either says what the file holds
and what is odd about it, or refuses it with a stable code, a sentence and a remedy. Real files do
many things wrong that can be read; those are oddities. Refused is what no reader could use, or
what would crash, hang or silently shorten a later step.
"""

from shared.preflight.inspection import inspect, inspect_source
from shared.preflight.model import Laszip, Oddity, Preflight, StatedCrs, Vlr
from shared.preflight.points import most_points
from shared.preflight.refusals import REFUSALS, SALVAGEABLE, Refusal
from shared.preflight.source import BUDGET, Source

__all__ = [
    "BUDGET",
    "REFUSALS",
    "SALVAGEABLE",
    "Laszip",
    "Oddity",
    "Preflight",
    "Refusal",
    "Source",
    "StatedCrs",
    "Vlr",
    "inspect",
    "inspect_source",
    "most_points",
]

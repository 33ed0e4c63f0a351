"""How long the units of a cloud's coordinates are, and what they are called."""

from services.processor.pointcloud.crs import CloudCrs

_METRES = {
    "metre": 1.0,
    "kilometre": 1000.0,
    "foot": 0.3048,
    "US survey foot": 12 / 39.37,
    "Clarke's foot": 0.3047972654,
    "yard": 0.9144,
    "link": 0.201168,
}
"""By the names that PROJ gives them."""


def length_unit(crs: CloudCrs) -> str | None:
    """The unit of lengths on the ground: metres where coordinates are degrees; None if unknown."""
    return "metre" if crs.geographic else crs.unit


def height_unit(crs: CloudCrs) -> str | None:
    """The unit of heights: the vertical system's, or else the one on the ground; None if unknown."""
    return crs.vertical_unit or length_unit(crs)


def metres(unit: str | None) -> float:
    """The length of a unit; an unknown one is taken for a metre."""
    return _METRES.get(unit or "metre", 1.0)

"""How long the units of a cloud's coordinates are, for what is a length in nature and not on paper."""

from dataclasses import dataclass

from pyproj import CRS
from pyproj.exceptions import CRSError

from services.processor.pointcloud.las.crs import CloudCrs


@dataclass(frozen=True)
class Lengths:
    """Metres per unit.

    Attributes:
        across: of x and y; 1 where they are degrees, for grids are laid out in metres there.
        up: of the heights.
        upright: whether z is a height at all; it is none in geocentric coordinates.
        assumed: sentences on what nobody has stated.
    """

    across: float = 1.0
    up: float = 1.0
    upright: bool = True
    assumed: tuple[str, ...] = ()


def lengths_of(crs: CloudCrs) -> Lengths:
    """What the coordinate system says of its units, and what has to be taken for granted."""
    try:
        known = CRS.from_wkt(crs.wkt) if crs.name and crs.wkt else None
    except CRSError:
        known = None
    if known is None:
        note = "The coordinate system is unknown; its units are taken for metres."
        return Lengths(assumed=(note,))
    axes = known.axis_info
    geocentric = any(part.is_geocentric for part in known.sub_crs_list or [known])
    across = 1.0 if crs.geographic or not axes else axes[0].unit_conversion_factor
    if len(axes) > 2:
        return Lengths(across, axes[2].unit_conversion_factor, not geocentric)
    unit = "metre" if crs.geographic else crs.unit or "metre"
    note = f"The unit of the heights is not stated; it is taken for {unit}."
    return Lengths(across, across, not geocentric, (note,))


def length_unit(crs: CloudCrs) -> str | None:
    """What lengths on the ground are told in: metres where coordinates are degrees, or their unit."""
    return "metre" if crs.geographic else crs.unit


def height_unit(crs: CloudCrs) -> str | None:
    """What heights are told in: the unit of the vertical system, or else that of the ground."""
    return crs.vertical_unit or length_unit(crs)

"""Where a cloud lies on the globe: its coordinates as metres east, north and up of its middle.

PROJ is asked for the corners of a coarse grid only; what is between them is interpolated. Along a
vertical that is exact. Between corners 250 m apart the Earth bends away by little more than a
millimetre (the sagitta h*h/8R), so positions are right to a centimetre in clouds of up to 250 km,
beside what the definition of the coordinate system allows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.las.lengths import lengths_of
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.tiles.positions import Ends, Floats, Lattice, Placement

Way = Callable[[Floats, Floats, Floats], Floats]
"""From the coordinates of points to three rows of metres."""

_SPACING = 250.0
_MOST_CELLS = 512
_STEP = 2.0**-16
"""Metres. Corners are rounded, lest the last bit of a sine differs on another machine."""

# The ellipsoid of WGS 84.
_A, _F = 6_378_137.0, 1 / 298.257223563
_E2 = _F * (2 - _F)

_TAKEN = (
    "taken as heights above the ellipsoid of WGS 84; the cloud may lie too low or too high by up"
    " to a hundred metres."
)


class _Nowhere(Exception):
    """It is not known where on Earth the cloud lies; the sentence says why."""


def place(source: Source, crs: CloudCrs, ranges: Ranges) -> Placement:
    """Where a cloud of these true bounds lies; it must have points."""
    x, y, z = (
        (int(low), int(high)) for low, high in (ranges.by_name[name] for name in ("X", "Y", "Z"))
    )
    ends = (x, y, z)
    middle = tuple(_coordinates(source, axis, _middle(end)) for axis, end in enumerate(ends))
    try:
        to_earth, notes = _way_to_earth(crs)
        tangent = _tangent_at(to_earth(*middle))
        corners = _corners(source, ends, lambda *places: _onto(tangent, to_earth(*places)))
    except (ProjError, _Nowhere) as error:
        why = str(error) if isinstance(error, _Nowhere) else _no_way_from(crs)
        lengths = lengths_of(crs)
        factors = (lengths.across, lengths.across, lengths.up)

        def from_middle(*places: Floats) -> Floats:
            return np.stack([(p - m) * f for p, m, f in zip(places, middle, factors, strict=True)])

        tangent, notes = None, (why, *lengths.assumed)
        corners = _corners(source, ends, from_middle)
    bottom, top = (np.round(part / _STEP) * _STEP for part in corners)
    return Placement(
        lattice=Lattice(ends, bottom, top),
        middle=(float(middle[0][0]), float(middle[1][0]), float(middle[2][0])),
        transform=tangent.matrix if tangent else None,
        notes=notes,
    )


def _no_way_from(crs: CloudCrs) -> str:
    return f"PROJ knows no way from {crs.name} to WGS 84: the tiles lie in the cloud's own system."


def _way_to_earth(crs: CloudCrs) -> tuple[Way, tuple[str, ...]]:
    """From the cloud's coordinates to geocentric ones (EPSG:4978), and what to know about it."""
    if not (crs.name and crs.wkt):
        raise _Nowhere("The coordinate system is unknown: the tiles lie in the cloud's own one.")
    known = CRS.from_wkt(crs.wkt)
    lengths = lengths_of(crs)
    parts = known.sub_crs_list or [known]
    if not lengths.upright:
        whole = Transformer.from_crs(known, "EPSG:4978", always_xy=True)
        return lambda x, y, z: _finite(np.stack(whole.transform(x, y, z))), ()
    # Without the grids of geoids PROJ can do nothing about heights but leave them as they are.
    across = Transformer.from_crs(parts[0].to_2d(), "EPSG:4326", always_xy=True)

    def to_earth(x: Floats, y: Floats, z: Floats) -> Floats:
        longitude, latitude = _finite(np.stack(across.transform(x, y)))
        # Degrees pass through PROJ as they are, whatever they are.
        _finite(np.where(np.abs(latitude) > 90, np.nan, 0.0))
        return _geocentric(longitude, latitude, z * lengths.up)

    if len(parts) > 1:
        notes = (f"The heights are those of {parts[-1].name}, {_TAKEN}",)
    elif len(known.axis_info) > 2:
        notes = ("The heights are above the ellipsoid.",)
    else:
        notes = (f"What the heights refer to is not stated; they are {_TAKEN}",)
    return to_earth, (*notes, *lengths.assumed)


def _finite(places: Floats) -> Floats:
    if not np.isfinite(places).all():
        raise _Nowhere(
            "The coordinates lie where their coordinate system has no places: the tiles lie in the"
            " cloud's own system."
        )
    return places


def _geocentric(longitude: Floats, latitude: Floats, height: Floats) -> Floats:
    """Geocentric metres from degrees and a height on WGS 84 (EPSG method 9602)."""
    lam, phi = np.radians(longitude), np.radians(latitude)
    across = _A / np.sqrt(1 - _E2 * np.sin(phi) ** 2)
    return np.stack(
        [
            (across + height) * np.cos(phi) * np.cos(lam),
            (across + height) * np.cos(phi) * np.sin(lam),
            (across * (1 - _E2) + height) * np.sin(phi),
        ]
    )


@dataclass(frozen=True)
class _Tangent:
    """A plane that touches the Earth: three directions (east, north, up), and where from."""

    axes: Floats
    origin: Floats

    @property
    def matrix(self) -> tuple[float, ...]:
        columns = [(*axis, 0.0) for axis in self.axes.tolist()]
        return tuple(
            value for column in (*columns, (*self.origin.tolist(), 1.0)) for value in column
        )


def _tangent_at(place: Floats) -> _Tangent:
    """The plane at a geocentric place; its up is that of the ellipsoid to a millionth of a degree."""
    x, y, z = place[:, 0].tolist()
    lam = math.atan2(y, x)
    # Bowring's formula: exact on the ellipsoid, and good to nanoradians at the heights of clouds.
    theta = math.atan2(z, math.hypot(x, y) * (1 - _F))
    phi = math.atan2(
        z + _E2 / (1 - _E2) * _A * (1 - _F) * math.sin(theta) ** 3,
        math.hypot(x, y) - _E2 * _A * math.cos(theta) ** 3,
    )
    axes = [
        [-math.sin(lam), math.cos(lam), 0.0],
        [-math.sin(phi) * math.cos(lam), -math.sin(phi) * math.sin(lam), math.cos(phi)],
        [math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)],
    ]
    return _Tangent(np.round(np.array(axes), 14), np.round(place[:, 0], 4))


def _onto(tangent: _Tangent, places: Floats) -> Floats:
    away = places - tangent.origin[:, None]
    # Not a matrix product: its sums differ from machine to machine.
    return np.stack(
        [axis[0] * away[0] + axis[1] * away[1] + axis[2] * away[2] for axis in tangent.axes]
    )


def _corners(source: Source, ends: tuple[Ends, Ends, Ends], way: Way) -> tuple[Floats, Floats]:
    """What the way makes of the corners of a grid over the cloud, below and above."""
    x, y, z = (_coordinates(source, axis, np.array(end)) for axis, end in enumerate(ends))
    cells = []
    for axis, low_high in enumerate((x, y)):
        line = [
            np.full(2, _coordinates(source, other, _middle(ends[other]))[0]) for other in range(3)
        ]
        line[axis] = low_high
        first, last = way(*line).T
        reach = math.dist(first.tolist(), last.tolist())
        cells.append(min(max(math.ceil(reach / _SPACING), 1), _MOST_CELLS))
    along = [np.linspace(*end, count + 1) for end, count in zip(ends, cells, strict=False)]
    east = _coordinates(source, 0, along[0])
    north = _coordinates(source, 1, along[1])
    shape = (3, len(north), len(east))
    xs, ys = (part.ravel() for part in np.meshgrid(east, north))
    bottom, top = (way(xs, ys, np.full(xs.shape, height)).reshape(shape) for height in z)
    return bottom, top


def _coordinates(source: Source, axis: int, integers: Floats) -> Floats:
    return integers * source.scales[axis] + source.offsets[axis]


def _middle(ends: Ends) -> Floats:
    return np.array([(ends[0] + ends[1]) / 2])

"""Positions of records in metres, interpolated between the corners of a grid over the cloud."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.records import Records

Floats = NDArray[np.float64]
Ends = tuple[int, int]

_LOW_AND_HIGH = np.repeat([0.0, 1.0], 4)
_BLOCK = 1 << 13
"""Points whose intermediate results fit into a processor's cache."""


@dataclass(frozen=True)
class Lattice:
    """A grid over the cloud, as high as the cloud. What is between its corners is linear.

    Attributes:
        ends: the lowest and the highest integer coordinate of the records along x, y and z.
        bottom, top: metres along three axes at the corners, by axis, row along y and column along
            x: of the lowest z and of the highest.
    """

    ends: tuple[Ends, Ends, Ends]
    bottom: Floats
    top: Floats

    def positions(self, records: Records) -> Floats:
        """Metres along three axes, by axis.

        Records that lie within one cell's width of each other are interpolated between corners of
        their own, which are interpolated themselves: much faster, and it differs by a millimetre.
        """
        rows, columns = self.bottom.shape[1] - 1, self.bottom.shape[2] - 1
        u = _along(records["X"], self.ends[0], columns)
        v = _along(records["Y"], self.ends[1], rows)
        w = _along(records["Z"], self.ends[2], 1)
        west, east, south, north = u.min(), u.max(), v.min(), v.max()
        if east - west > 1 or north - south > 1:
            return self._between(u, v, w)
        corners = self._between(
            np.array([west, east] * 4), np.array([south, south, north, north] * 2), _LOW_AND_HIGH
        )
        bottom, top = corners[:, :4], corners[:, 4:]
        u -= west
        v -= south
        u /= max(east - west, 1e-300)
        v /= max(north - south, 1e-300)
        places = np.empty((3, len(u)))
        for start in range(0, len(u), _BLOCK):
            part = slice(start, start + _BLOCK)
            for axis in range(3):
                places[axis, part] = _trilinear(bottom[axis], top[axis], u[part], v[part], w[part])
        return places

    def _between(self, u: Floats, v: Floats, w: Floats) -> Floats:
        rows, columns = self.bottom.shape[1] - 1, self.bottom.shape[2] - 1
        column = np.minimum(u.astype(np.int64), columns - 1)
        row = np.minimum(v.astype(np.int64), rows - 1)
        at = row * (columns + 1) + column
        corners = np.stack([at, at + 1, at + columns + 1, at + columns + 2])
        u, v = u - column, v - row
        return np.stack(
            [
                _trilinear(bottom.ravel()[corners], top.ravel()[corners], u, v, w)
                for bottom, top in zip(self.bottom, self.top, strict=True)
            ]
        )


@dataclass(frozen=True)
class Placement:
    """A cloud's own system: metres east, north and up of its middle.

    Attributes:
        lattice: makes such positions of records.
        middle: the middle in the cloud's coordinates.
        transform: from the system to EPSG:4978, column by column; None if nobody knows where on
            Earth the cloud lies. Then x, y and z are the cloud's own directions.
        notes: what is to be known about it.
    """

    lattice: Lattice
    middle: tuple[float, float, float]
    transform: tuple[float, ...] | None
    notes: tuple[str, ...]


def _along(values: NDArray[np.int32], ends: Ends, cells: int) -> Floats:
    """How many cells from the low end each value lies."""
    place = values.astype(np.float64)
    place -= ends[0]
    place *= cells / max(ends[1] - ends[0], 1)
    return place


def _trilinear(bottom: Floats, top: Floats, u: Floats, v: Floats, w: Floats) -> Floats:
    """Between corners (south-west, south-east, north-west, north-east) below and above."""
    place = _bilinear(bottom, u, v)
    rise = _bilinear(top - bottom, u, v)
    rise *= w
    place += rise
    return place


def _bilinear(corners: Floats, u: Floats, v: Floats) -> Floats:
    southwest, southeast, northwest, northeast = corners
    place: Floats = u * (southeast - southwest)
    place += southwest
    north: Floats = u * (northeast - northwest - southeast + southwest)
    north += northwest - southwest
    north *= v
    place += north
    return place

"""The grid of a cloud seen from above: where it lies, and how fine it is."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.order import Order

Cells = NDArray[np.int64]
Side = tuple[float, float]
"""A lower and an upper end."""

_POINTS_PER_CELL = 4.0
"""A cell holds at least so many points on average, so that about one in fifty stays empty; rounding
makes it 25 at most."""

_LONGEST = 4096
_MOST_CELLS = 1 << 23
_STEPS = (1.0, 2.0, 5.0)
_FAR = 1e-4
"""The share of points on each side that may lie far away from all others."""

_LEAST_TO_JUDGE = 1000
_DEGREE = math.pi / 180
_EQUATOR, _FLATTENING = 6_378_137.0, 1 / 298.257223563


@dataclass(frozen=True)
class Frame:
    """A grid whose cells begin at multiples of their sides. Row 0 is the north edge.

    Attributes:
        width, height: cells along x and y.
        first_column, first_row: the numbers of the first ones, counted east and south from 0, 0.
        cell_x, cell_y: the sides of a cell in units of the coordinates.
        cell: the side of a cell: metres if the coordinates are degrees, their units otherwise.
        scales, offsets: what makes coordinates of the integers of the records.
        asked: the side that the caller asked for, if it would have been too many cells.
    """

    width: int
    height: int
    first_column: int
    first_row: int
    cell_x: float
    cell_y: float
    cell: float
    scales: tuple[float, float, float]
    offsets: tuple[float, float, float]
    asked: float | None = None

    @property
    def west(self) -> float:
        """The x coordinate of the left edge."""
        return self.first_column * self.cell_x

    @property
    def north(self) -> float:
        """The y coordinate of the upper edge."""
        return -self.first_row * self.cell_y

    def places(self, records: Records) -> tuple[Cells, Cells]:
        """Row and column of every record; beyond the grid for strays that it leaves out."""
        row = _steps(records["Y"], self.scales[1], self.offsets[1], -self.cell_y)
        column = _steps(records["X"], self.scales[0], self.offsets[0], self.cell_x)
        row -= self.first_row
        column -= self.first_column
        return row, column


def _steps(integers: NDArray[Any], scale: float, offset: float, cell: float) -> Cells:
    """In which cell from 0 on each coordinate lies. It grows with them, whatever is rounded."""
    steps = integers.astype(np.float64)
    steps *= scale / cell
    steps += offset / cell
    return np.floor(steps, out=steps).astype(np.int64)


def frame_of(order: Order, ranges: Ranges, sample: Records) -> Frame | None:
    """The grid for a cloud of these true bounds; None for an empty one.

    Without a resolution the density of the sample, evenly taken, decides: at least four points to a
    cell, the side a round number, and at most 4096 cells along the longer side.
    """
    if "X" not in ranges.by_name:
        return None
    source, resolution = order.source, order.resolution
    scales, offsets = source.scales, source.offsets
    x, y = (_reach(ranges.by_name[name], sample[name]) for name in ("X", "Y"))
    metric = (1.0, 1.0)
    latitude = (y[0] + y[1]) / 2 * scales[1] + offsets[1]
    # Some files call metres degrees.
    if order.crs.geographic and abs(latitude) <= 90:
        metric = _metres_per_degree(latitude)
    units = (scales[0] * metric[0], scales[1] * metric[1])
    reach = ((x[1] - x[0]) * units[0], (y[1] - y[0]) * units[1])
    if resolution is None:
        area = _covered(sample["X"] * units[0], sample["Y"] * units[1], max(*reach, *units))
        wanted = math.sqrt(_POINTS_PER_CELL * area / max(ranges.points, 1))
        cell = _rounded_up(max(wanted, max(reach) / (_LONGEST - 2), *units))
    else:
        cell = max(resolution, *units)
    while (reach[0] / cell + 2) * (reach[1] / cell + 2) > _MOST_CELLS:
        cell = _rounded_up(cell * 1.01)
    cell_x, cell_y = cell / metric[0], cell / metric[1]
    left, right = _steps(np.array(x), scales[0], offsets[0], cell_x).tolist()
    bottom, top = _steps(np.array(y), scales[1], offsets[1], -cell_y).tolist()
    return Frame(
        width=right - left + 1,
        height=bottom - top + 1,
        first_column=left,
        first_row=top,
        cell_x=cell_x,
        cell_y=cell_y,
        cell=cell,
        scales=scales,
        offsets=offsets,
        asked=resolution if resolution is not None and cell != resolution else None,
    )


def _reach(ends: Side, sample: NDArray[np.int32]) -> Side:
    """From where to where the points lie along an axis, without the few that lie far away.

    A stray point hundreds of kilometres away would leave one cell for all others.
    """
    low, high = ends
    if len(sample) >= _LEAST_TO_JUDGE:
        spare = max(int(len(sample) * _FAR), 2)
        inner = np.partition(sample, (spare, len(sample) - 1 - spare))
        first, last = int(inner[spare]), int(inner[-1 - spare])
        low, high = max(low, 2 * first - last), min(high, 2 * last - first)
    return low, high


def _covered(east: NDArray[np.float64], north: NDArray[np.float64], longest: float) -> float:
    """The area on which the sample lies: that of cells so large that they hold eight of it."""
    side = longest / 1024
    while True:
        column = np.floor((east - east.min()) / side).astype(np.int64)
        row = np.floor((north - north.min()) / side).astype(np.int64)
        occupied = len(np.unique(row * (column.max() + 1) + column))
        if occupied * 8 <= len(east) or max(column.max(), row.max()) < 1:
            return occupied * side * side
        side *= 2


def _rounded_up(length: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(length))
    for step in _STEPS:
        if step * power >= length * (1 - 1e-9):
            return float(f"{step * power:.12g}")
    return float(f"{10 * power:.12g}")


def _metres_per_degree(latitude: float) -> tuple[float, float]:
    """Along the parallel and along the meridian, on the ellipsoid of WGS 84.

    From the radii of curvature in the prime vertical and in the meridian (Snyder 1987, Map
    Projections: A Working Manual, equations 4-19 and 4-20).
    """
    phi = max(min(latitude, 89.0), -89.0) * _DEGREE
    e2 = _FLATTENING * (2 - _FLATTENING)
    w2 = 1 - e2 * math.sin(phi) ** 2
    across = _EQUATOR / math.sqrt(w2)
    return across * math.cos(phi) * _DEGREE, across * (1 - e2) / w2 * _DEGREE

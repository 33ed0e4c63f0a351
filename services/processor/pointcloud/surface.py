"""The cloud from above: for each cell of a grid the highest point and how many points there are."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.morton import Cube
from services.processor.pointcloud.ranges import Ranges
from services.processor.pointcloud.records import Records

Shade = Literal["colour", "intensity", "none"]
_HEIGHT_BITS = 32


@dataclass(frozen=True)
class Frame:
    """Where the grid lies, in the integers of the records, and what its cells remember.

    Attributes:
        width, height: cells along x and y; row 0 is the north edge.
        low_x, high_y, low_z: integer coordinates of the grid's upper left corner and lowest point.
        step_x, step_y: integer units per cell along x and y.
        cell: the side of a cell in units of the coordinates.
        shade: what is kept of the highest point besides its height.
        colour_shift: bits to drop so that a colour fits into 8.
    """

    width: int
    height: int
    low_x: int
    high_y: int
    low_z: int
    step_x: float
    step_y: float
    cell: float
    shade: Shade
    colour_shift: int


def frame_of(ranges: Ranges, cube: Cube, longest: int) -> Frame | None:
    """A grid of `longest` cells along the longer side of the cloud; None for an empty cloud."""
    if "X" not in ranges.by_name:
        return None
    (low_x, high_x), (low_y, high_y) = ranges.by_name["X"], ranges.by_name["Y"]
    scale_x, scale_y = abs(cube.scales[0]), abs(cube.scales[1])
    reach_x, reach_y = (high_x - low_x) * scale_x, (high_y - low_y) * scale_y
    cell = max(reach_x, reach_y, min(scale_x, scale_y)) / longest
    brightest = max(ranges.by_name.get(name, (0, 0))[1] for name in ("red", "green", "blue"))
    coloured = any(
        high > low
        for name in ("red", "green", "blue")
        for low, high in [ranges.by_name.get(name, (0, 0))]
    )
    return Frame(
        width=max(1, math.ceil(reach_x / cell)),
        height=max(1, math.ceil(reach_y / cell)),
        low_x=int(low_x),
        high_y=int(high_y),
        low_z=int(ranges.by_name["Z"][0]),
        step_x=cell / scale_x,
        step_y=cell / scale_y,
        cell=cell,
        shade="colour" if coloured else "intensity",
        colour_shift=max(int(brightest).bit_length() - 8, 0) if coloured else 0,
    )


class Surface:
    """The grid being filled. The order in which points come does not matter.

    Attributes:
        top: per cell the height of the highest point in the upper half, its shade in the lower.
        density: points per cell; 0 where `top` means nothing.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        cells = frame.width * frame.height
        self.top: NDArray[np.uint64] = np.zeros(cells, np.uint64)
        self.density: NDArray[np.uint32] = np.zeros(cells, np.uint32)

    def add(self, records: Records) -> None:
        """Take these records into account."""
        frame = self.frame
        column = (records["X"].astype(np.float64) - frame.low_x) / frame.step_x
        row = (frame.high_y - records["Y"].astype(np.float64)) / frame.step_y
        np.clip(column, 0, frame.width - 1, out=column)
        np.clip(row, 0, frame.height - 1, out=row)
        cell = row.astype(np.int64) * frame.width + column.astype(np.int64)
        height = (records["Z"].astype(np.int64) - frame.low_z).astype(np.uint64)
        np.maximum.at(self.top, cell, (height << np.uint64(_HEIGHT_BITS)) | self._shades(records))
        self.density += np.bincount(cell, minlength=len(self.density)).astype(np.uint32)

    def merge(self, other: "Surface") -> None:
        """Take what another has gathered into account."""
        np.maximum(self.top, other.top, out=self.top)
        self.density += other.density

    def heights(self) -> NDArray[np.float64]:
        """Height above the lowest point, in integer units, NaN where there is no point."""
        heights = (self.top >> np.uint64(_HEIGHT_BITS)).astype(np.float64)
        heights[self.density == 0] = np.nan
        return heights.reshape(self.frame.height, self.frame.width)

    def shades(self) -> NDArray[np.uint32]:
        """What the cells remember besides the height: 0xRRGGBB, or the intensity."""
        return (self.top & np.uint64(0xFFFFFFFF)).astype(np.uint32)

    def _shades(self, records: Records) -> NDArray[np.uint64]:
        if self.frame.shade == "intensity":
            return records["intensity"].astype(np.uint64)
        shift = np.uint16(self.frame.colour_shift)
        red, green, blue = (
            (records[name] >> shift).astype(np.uint64) for name in ("red", "green", "blue")
        )
        return (red << np.uint64(16)) | (green << np.uint64(8)) | blue


def occupied_area(surface: Surface) -> float:
    """The area that the cloud covers, in square units.

    Cells are joined until those with points hold eight of them on average, so that the gaps between
    the points of a thin cloud do not count as empty ground.
    """
    density = surface.density.reshape(surface.frame.height, surface.frame.width).astype(np.int64)
    side = surface.frame.cell
    while True:
        occupied = int(np.count_nonzero(density))
        if max(density.shape) == 1 or density.sum() >= 8 * occupied:
            return occupied * side * side
        rows, columns = (density.shape[0] + 1) // 2 * 2, (density.shape[1] + 1) // 2 * 2
        padded = np.pad(density, ((0, rows - density.shape[0]), (0, columns - density.shape[1])))
        density = padded.reshape(rows // 2, 2, columns // 2, 2).sum(axis=(1, 3))
        side *= 2

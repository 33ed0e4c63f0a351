"""The cloud seen from above, once all its points have been looked at: layers on one grid."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.observed.frame import Frame
from services.processor.pointcloud.observed.spots import TYPES, Layer, View


@dataclass(frozen=True)
class Surface:
    """What every cell of the grid remembers. The layers lie in files and are read when asked for.

    Attributes:
        view: the grid and its layers.
        folder: where the files are.
    """

    view: View
    folder: Path

    @property
    def frame(self) -> Frame:
        """The grid."""
        return self.view.frame

    def layer(self, layer: Layer) -> NDArray[Any]:
        """A layer, row 0 in the north; without meaning where `count` (or `ground_count`) is 0.

        Raises KeyError if no product that is wanted has said that it needs this layer.
        """
        if layer not in self.view.layers:
            raise KeyError(layer)
        values = np.fromfile(self.view.file(self.folder, layer), TYPES[layer])
        return values.reshape(self.frame.height, self.frame.width)

    def heights(self, layer: Layer) -> NDArray[np.float32]:
        """Heights of the layer `top` or `lowest` in units of the coordinates, NaN where no point is."""
        values = self.layer(layer) * self.frame.scales[2]
        values += self.frame.offsets[2]
        values[self.layer("count") == 0] = np.nan
        return values.astype(np.float32)

    def colours(self) -> NDArray[np.uint8]:
        """Red, green and blue of the highest points, in the last axis."""
        shade = self.layer("shade")
        return np.stack([(shade >> np.uint64(at)).astype(np.uint8) for at in (32, 24, 16)], axis=-1)

    def intensity(self) -> NDArray[np.uint16]:
        """The intensity of the highest points."""
        return self.layer("shade").astype(np.uint16)


def occupied_area(surface: Surface) -> float:
    """The area that the cloud covers, in squares of the unit of the grid's cells.

    Cells are joined until those with points hold eight of them on average, so that the gaps between
    the points of a thin cloud do not count as empty ground.
    """
    frame, count = surface.frame, surface.layer("count").astype(np.int64)
    while can_halve(frame) and count.sum() < 8 * np.count_nonzero(count):
        frame, count = halve(frame, count, np.add)
    return int(np.count_nonzero(count)) * frame.cell**2


def can_halve(frame: Frame) -> bool:
    """Whether larger cells would be fewer. Four of them around the origin never become one."""
    return not all(
        cells == 1 or (cells == 2 and first == -1)
        for cells, first in ((frame.height, frame.first_row), (frame.width, frame.first_column))
    )


def halve(frame: Frame, grid: NDArray[Any], how: np.ufunc) -> tuple[Frame, NDArray[Any]]:
    """Cells twice as large, still at multiples of their sides; `how` makes one value of four.

    Cells beyond the edge count as 0.
    """
    above, left = frame.first_row % 2, frame.first_column % 2
    rows, columns = grid.shape
    even = np.pad(grid, ((above, (rows + above) % 2), (left, (columns + left) % 2)))
    blocks = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2)
    half: NDArray[Any] = how.reduce(how.reduce(blocks, axis=3), axis=1)
    larger = replace(
        frame,
        width=half.shape[1],
        height=half.shape[0],
        first_column=frame.first_column // 2,
        first_row=frame.first_row // 2,
        cell_x=frame.cell_x * 2,
        cell_y=frame.cell_y * 2,
        cell=frame.cell * 2,
    )
    return larger, half

"""The cloud seen from above, once all its points have been looked at: layers on one grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.frame import Frame
from services.processor.pointcloud.spots import TYPES, Layer, View


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
    count = surface.layer("count").astype(np.int64)
    side = surface.frame.cell
    while True:
        occupied = int(np.count_nonzero(count))
        if max(count.shape) == 1 or count.sum() >= 8 * occupied:
            return occupied * side * side
        count = joined(count, np.add)
        side *= 2


def joined(grid: NDArray[Any], how: np.ufunc) -> NDArray[Any]:
    """A grid of half the size; `how` makes one cell of four."""
    rows, columns = grid.shape
    even = np.pad(grid, ((0, rows % 2), (0, columns % 2)))
    blocks = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2)
    half: NDArray[Any] = how.reduce(how.reduce(blocks, axis=3), axis=1)
    return half

"""Which points are ground: those of which the source says so, or those that a filter has found."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.observed.frame import Frame

Mask = NDArray[np.bool_]

NEVER_CLASSIFIED, UNCLASSIFIED, GROUND = 0, 1, 2
_LOW_NOISE, _HIGH_NOISE = 7, 18
_WITHHELD = 0b100
_ENOUGH = 0.01


@dataclass(frozen=True)
class GroundFilter:
    """What the filter takes for ground. All lengths are metres, slopes are rise over run.

    Attributes:
        slope: the ground rises at most so steeply over the width of a window, on the whole.
        rough: and is so rough besides.
        widest: the largest radius of a window; halls twice as wide are recognised.
        pit: a cell lower than its neighbours by this slope is an error.
        joins, joins_by_slope: cells this close to the provisional surface, or closer than this
            times its slope, take part in it.
        close, close_by_slope: points this close to the surface are ground.
    """

    slope: float = 0.15
    rough: float = 0.2
    widest: float = 30.0
    pit: float = 5.0
    joins: float = 0.2
    joins_by_slope: float = 1.0
    close: float = 0.5
    close_by_slope: float = 1.25


@dataclass(frozen=True)
class GroundFound:
    """Ground as a filter has found it.

    Attributes:
        frame: the grid that the filter has worked on.
        least, greatest: files of the heights between which the ground lies, cell by cell, int32 as
            in the records; the least is above the greatest where nothing is ground.
    """

    frame: Frame
    least: Path
    greatest: Path

    def between(self, rows: slice, columns: slice) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Between which heights the ground lies in a part of the grid, row by row."""
        shape = (self.frame.height, self.frame.width)
        least, greatest = (
            np.memmap(path, "<i4", "r", shape=shape)[rows, columns].flatten()
            for path in (self.least, self.greatest)
        )
        return least, greatest


def has_ground(classes: NDArray[np.int64]) -> bool:
    """Whether the source says which points are ground: at least of one in a hundred, not of a few.

    Even in a town or a dense forest, a classified cloud has several times as many.
    """
    return bool(classes[GROUND] and classes[GROUND] >= _ENOUGH * classes.sum())


def is_reliable(records: Records) -> Mask:
    """Which points are neither classified as noise nor withheld."""
    # Side by side the classes are compared sixteen at a time.
    number = records["classification"].copy()
    reliable: Mask = (number != _LOW_NOISE) & (number != _HIGH_NOISE)
    reliable &= records["flags"] & _WITHHELD == 0
    return reliable


def is_ground(records: Records, found: GroundFound | None) -> Mask:
    """Which points are ground, by their class if nothing has been found by a filter."""
    if found is None:
        ground: Mask = records["classification"] == GROUND
        return ground
    return lies_on_ground(records, found) & is_reliable(records)


def lies_on_ground(records: Records, found: GroundFound) -> Mask:
    """Which points a filter would take for ground by their heights, noise or not."""
    frame = found.frame
    row, column = frame.places(records)
    inside = (row >= 0) & (row < frame.height) & (column >= 0) & (column < frame.width)
    at = np.where(inside, row * frame.width + column, 0)
    cells = frame.width * frame.height
    least, greatest = (
        np.memmap(path, "<i4", "r", shape=(cells,))[at] for path in (found.least, found.greatest)
    )
    z = records["Z"]
    within: Mask = inside & (least <= z) & (z <= greatest)
    return within


def classify(records: Records, found: GroundFound) -> int:
    """Give points that nobody has classified a class: ground or unclassified. How many changed."""
    number = records["classification"]
    before = number.copy()
    open_to = before <= UNCLASSIFIED
    ground = is_ground(records, found)
    number[open_to] = np.where(ground, np.uint8(GROUND), np.uint8(UNCLASSIFIED))[open_to]
    return int(np.count_nonzero(number != before))

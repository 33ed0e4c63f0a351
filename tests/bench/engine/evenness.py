"""How evenly the coarse levels of a COPC file cover the ground.

    python -m tests.bench.engine.evenness cloud.copc.laz

A viewer shows the coarsest levels first. Where their points lie in clumps the picture is blotchy,
so we ask for the coefficient of variation (standard deviation over mean) of the number of points
in square cells of the ground, with the levels added up one after the other.
"""

import sys
from pathlib import Path

import laspy
import numpy as np
from numpy.typing import NDArray

CELL = 10.0
"""Units of the cloud along a cell's side."""

OTHERS = {
    "PDAL 2.8.4": [0.74, 0.89, 0.82, 0.38],
    "untwine 1.5.1": [0.79, 0.82, 0.92, 0.66],
    "the prototype": [0.70, 0.79, 0.91, 0.75],
}
"""Levels 0, 0 to 1, 0 to 2 and 0 to 3 of the 10 M airborne cloud, measured once on two cores."""


def evenness(path: Path, levels: int = 4, cell: float = CELL) -> tuple[list[float], float]:
    """The coefficients of variation of levels 0, 0 to 1 and so on, and that of the whole cloud.

    Every cell in which the whole cloud has a point counts, also where a level has none. Read with
    laspy, so that the engine has no say in it. NaN where there are no points.
    """
    with laspy.CopcReader.open(path) as reader:
        grids: list[NDArray[np.int64]] = []
        while sum(grid.sum() for grid in grids) < reader.header.point_count:
            grids.append(_counts(reader, len(grids), cell))
    whole = sum(grids[1:], grids[0]) if grids else np.zeros((1, 1), np.int64)
    inside = whole > 0
    cumulated = np.cumsum([*grids, *[np.zeros_like(whole)] * levels], axis=0)[:levels]
    return [_variation(grid[inside]) for grid in cumulated], _variation(whole[inside])


def _counts(reader: laspy.CopcReader, level: int, cell: float) -> NDArray[np.int64]:
    """Points of one level by cell, the south-western corner of the cloud first."""
    low, high = reader.header.mins, reader.header.maxs
    columns, rows = (np.floor((high - low)[:2] / cell) + 1).astype(int)
    points = reader.query(level=level)
    column = np.floor((np.asarray(points.x) - low[0]) / cell).astype(int)
    row = np.floor((np.asarray(points.y) - low[1]) / cell).astype(int)
    counts = np.bincount(row * columns + column, minlength=rows * columns)
    return counts.reshape(rows, columns)


def _variation(counts: NDArray[np.int64]) -> float:
    return float(counts.std() / counts.mean()) if counts.any() else float("nan")


if __name__ == "__main__":
    levels, whole = evenness(Path(sys.argv[1]))
    sys.stdout.write(f"{' '.join(f'{value:.2f}' for value in levels)}, all points {whole:.2f}\n")

"""Contour lines of the bare ground as GeoJSON."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from services.processor.pointcloud.las.lengths import height_unit, lengths_of
from services.processor.pointcloud.observed.frame import Frame
from services.processor.pointcloud.products.geojson import Feature, Places, write_features
from services.processor.pointcloud.products.kind import Cloud, NotApplicable, ProductKind
from services.processor.pointcloud.products.relief import ground_of, terrain_of
from services.processor.pointcloud.rasters.isolines import Line, lines_at, round_interval, smoothed

_LEAST_INTERVAL = 0.1
"""In metres: what the engine chooses if nobody does. Below, lines follow the noise."""

_MOST_LEVELS = 1000
_INDEX_EVERY = 5


def write(cloud: Cloud, path: Path) -> None:
    """Lines with their elevation; those of every fifth level are index lines."""
    smooth, joined = smoothed(terrain_of(cloud).heights)
    low, high = float(np.nanmin(smooth)), float(np.nanmax(smooth))
    interval = cloud.settings.contour_interval or round_interval(
        low, high, _LEAST_INTERVAL / lengths_of(cloud.crs).up
    )
    unit = height_unit(cloud.crs)
    first, last = math.ceil(low / interval), math.floor(high / interval)
    if last - first >= _MOST_LEVELS:
        raise NotApplicable(
            f"Between {low:.2f} and {high:.2f} there are more than {_MOST_LEVELS} contour lines "
            f"{interval} apart; ask for a larger contour interval."
        )
    numbers, frame = np.arange(first, last + 1), ground_of(cloud).frame
    levels = numbers.astype(np.float64) * interval
    features = [
        Feature("LineString", _places(line, frame), _properties(number, interval, unit))
        for number, lines in zip(numbers.tolist(), lines_at(smooth, joined, levels), strict=True)
        for line in lines
    ]
    if not features:
        raise NotApplicable(
            f"The ground lies between {low:.2f} and {high:.2f}: no contour line {interval} from the "
            "next is long enough to be drawn."
        )
    write_features(path, features, cloud, {"interval": interval, "unit": unit})


def _places(line: Line, frame: Frame) -> Places:
    return line * (frame.cell_x, -frame.cell_y) + (frame.west, frame.north)


def _properties(number: int, interval: float, unit: str | None) -> dict[str, Any]:
    elevation = float(f"{number * interval:.12g}")
    return {"elevation": elevation, "unit": unit, "index": number % _INDEX_EVERY == 0}


PRODUCT = ProductKind(
    name="contours",
    file="contours.geojson",
    media_type="application/geo+json",
    title="Contour lines",
    needs=frozenset({"ground"}),
    write=write,
)

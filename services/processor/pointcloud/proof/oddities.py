"""What is unusual about a cloud's points but keeps nobody from using them."""

import math
from collections.abc import Iterator

import numpy as np

from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.las.extra import read_extra_bytes
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.mill import Milled
from services.processor.pointcloud.octree.cube import bounds_of
from services.processor.pointcloud.proof.footprint import degrees_from_home, footprint_of_bounds
from shared.preflight import Oddity

_FOOT = "foot"
_MANY_RECORDS = 100
_FAR_FROM_HOME = 3.0
"""Degrees; half a zone of UTM, within which the neighbour's zone is often used on purpose."""


def find_oddities(source: Source, crs: CloudCrs, milled: Milled) -> list[Oddity]:
    """Everything worth a sentence, in a fixed order."""
    return [
        *_reading(source, milled),
        *crs.oddities,
        *_units(crs),
        *_extent(source, milled),
        *_grid(milled),
        *_place(crs, milled),
        *_returns(source, milled),
        *_values(source, milled),
        *_extra_bytes(source),
    ]


def _reading(source: Source, milled: Milled) -> Iterator[Oddity]:
    if milled.reading.decoder == "laszip":
        yield Oddity(
            "read_by_laszip",
            "The points are compressed in a way that lazrs cannot read; LASzip read them.",
        )
    if not source.point_count:
        yield Oddity("no_points", "The cloud has no points.")
    if len(source.carried) > _MANY_RECORDS:
        yield Oddity("many_records", f"The file has {len(source.carried)} records.")
    if source.point_count == 1:
        yield Oddity("one_point", "The cloud has a single point.")


def _units(crs: CloudCrs) -> Iterator[Oddity]:
    if crs.geographic:
        yield Oddity(
            "geographic_coordinates",
            "The coordinates are degrees; areas and densities are in square metres.",
        )
    axes = [
        (f"{axes} in {unit}")
        for axes, unit in (("x and y", crs.unit), ("z", crs.vertical_unit))
        if unit and _FOOT in unit
    ]
    if axes:
        yield Oddity("coordinates_in_feet", f"The coordinates are in feet: {', '.join(axes)}.")


def _extent(source: Source, milled: Milled) -> Iterator[Oddity]:
    if not source.point_count:
        return
    mins, maxs = bounds_of(source, milled.ranges)
    stated, found = [*source.mins, *source.maxs], [*mins, *maxs]
    units = [abs(scale) for scale in source.scales] * 2
    if any(
        not abs(said - true) <= unit for said, true, unit in zip(stated, found, units, strict=True)
    ):
        yield Oddity(
            "bounds_wrong",
            "The header's bounds are not those of the points; the product has the true ones.",
        )
    if source.point_count > 1 and mins[:2] == maxs[:2]:
        yield Oddity("no_extent", "All points have the same x and y.")
    if milled.twins:
        yield Oddity(
            "duplicate_points",
            f"{_points(milled.twins, 'lies', 'lie')} exactly where another point lies.",
        )


def _place(crs: CloudCrs, milled: Milled) -> Iterator[Oddity]:
    """Whether the coordinate system can be that of these coordinates."""
    product = milled.product
    if not product.points or crs.name is None:
        return
    footprint = footprint_of_bounds(crs, product.mins, product.maxs)
    if footprint is None and crs.geographic:
        yield Oddity(
            "crs_contradicts_bounds",
            f"The coordinates are no degrees, as {crs.name} wants them; give the right coordinate "
            "system with the parameter `crs`.",
        )
    if footprint and degrees_from_home(crs, footprint) > _FAR_FROM_HOME:
        west, south, _, _ = footprint.bbox
        yield Oddity(
            "crs_improbable",
            f"The cloud would lie at longitude {west:.2f}, latitude {south:.2f}, far from where "
            f"{crs.name} is used; if that is wrong, give the coordinate system with the parameter "
            "`crs`.",
        )


def _grid(milled: Milled) -> Iterator[Oddity]:
    """What the grid seen from above does not show, or not as it was asked for."""
    if milled.surface is None:
        return
    frame, (low, high) = milled.surface.frame, (milled.product.mins, milled.product.maxs)
    east, south = frame.west + frame.width * frame.cell_x, frame.north - frame.height * frame.cell_y
    beyond = max(
        (frame.west - low[0]) / frame.cell_x,
        (high[0] - east) / frame.cell_x,
        (south - low[1]) / frame.cell_y,
        (high[1] - frame.north) / frame.cell_y,
    )
    # Less than a cell is what rounding makes of the edges.
    if beyond > 1:
        yield Oddity(
            "points_far_away",
            "A few points lie far away from all others; rasters and pictures leave them out.",
        )
    if frame.asked is not None:
        yield Oddity(
            "resolution_changed",
            f"The cells of the rasters have sides of {frame.cell:g} and not {frame.asked:g}, of which "
            "there would be too many, or which would be smaller than the unit of the coordinates.",
        )


def _returns(source: Source, milled: Milled) -> Iterator[Oddity]:
    if not source.point_count:
        return
    # Rows are the number of returns, columns the return number.
    table = milled.tally.counted["returns"].reshape(16, 16)
    zero = int(table[:, 0].sum())
    if zero:
        yield Oddity(
            "return_number_zero",
            f"{_points(zero, 'has', 'have')} the return number 0, which does not exist.",
        )
    above = int(np.triu(table, 1).sum())
    if above:
        yield Oddity(
            "return_number_too_high",
            f"{_points(above, 'has', 'have')} a return number above the number of returns.",
        )
    by_return = table.sum(axis=0)[1:].tolist()
    stated = list(source.returns_in_header)
    if by_return[: len(stated)] != stated or sum(stated) != source.point_count:
        yield Oddity(
            "returns_in_header_wrong",
            "The header's numbers of points by return are not those of the points.",
        )


def _values(source: Source, milled: Milled) -> Iterator[Oddity]:
    ranges = milled.ranges.by_name
    brightest = max(
        (ranges[name][1] for name in ("red", "green", "blue") if name in ranges), default=None
    )
    if brightest == 0:
        yield Oddity("colour_empty", "The point format has colours, but all of them are black.")
    elif brightest is not None and brightest < 256:
        yield Oddity(
            "colour_8bit", "The colours use 8 of their 16 bits; they are kept as they are."
        )
    if source.point_format in (0, 2) or not source.point_count:
        return
    low, high = ranges.get("gps_time", (0.0, 0.0))
    if not math.isfinite(high - low):
        yield Oddity(
            "gps_time_out_of_range",
            "The GPS times lie further apart than numbers can say; they have no statistics.",
        )
    elif unusable := milled.ranges.unusable.get("gps_time"):
        yield Oddity(
            "gps_time_not_finite",
            f"{_points(unusable, 'has', 'have')} a GPS time that is not a usable number.",
        )


def _extra_bytes(source: Source) -> Iterator[Oddity]:
    extra = read_extra_bytes(source)
    if extra.described < source.extra_bytes:
        yield Oddity(
            "extra_bytes_undescribed",
            f"{source.extra_bytes - extra.described} bytes of each record are not described; "
            "they are kept as they are.",
        )
    if extra.duplicates:
        yield Oddity(
            "extra_bytes_duplicate_name",
            f"More than one extra dimension is called {extra.duplicates[0]!r}.",
        )


def _points(count: int, one: str, many: str) -> str:
    """A number of points with the verb in the right form."""
    return f"1 point {one}" if count == 1 else f"{count} points {many}"

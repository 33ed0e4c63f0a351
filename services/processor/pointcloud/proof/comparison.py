"""What went into the mill and what came out, side by side."""

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.instants import file_date, gps_time_is_standard
from services.processor.pointcloud.products.kind import Cloud
from services.processor.pointcloud.proof.certificate_form import (
    Agreement,
    Box,
    CopcFacts,
    Corner,
    FileFacts,
    SourceFacts,
)

_UNTIMED = frozenset({0, 2})
_NO_COUNTS = np.zeros(256, np.int64)


def source_facts(cloud: Cloud, file: FileFacts) -> SourceFacts:
    """What went in, as the header says and as the points are."""
    source = cloud.source
    timed = source.point_format not in _UNTIMED
    created = file_date(source)
    return SourceFacts(
        **file.model_dump(),
        format="LAZ" if source.sent.compressed else "LAS",
        version=".".join(map(str, source.version)),
        point_format=source.point_format,
        record_length=source.record_length,
        extra_bytes=source.extra_bytes,
        points=source.sent.point_count,
        classes=_classes(cloud.milled.source_classes),
        bounds_in_header=Box(min=_corner(source.mins), max=_corner(source.maxs)),
        bounds=_bounds(cloud),
        gps_time=("adjusted_standard" if gps_time_is_standard(source) else "seconds_of_week")
        if timed
        else None,
        system=source.system_id.split(b"\0")[0].decode("latin-1").strip(),
        software=source.software.strip(),
        created=created.isoformat() if created else None,
        decoder="salvage" if source.origin else cloud.milled.reading.decoder,
    )


def copc_facts(cloud: Cloud) -> CopcFacts:
    """What came out, counted as it was written."""
    milled, product = cloud.milled, cloud.milled.product
    return CopcFacts(
        version="1.4",
        point_format=product.point_format,
        record_length=product.record_length,
        points=product.points,
        classes=_classes(_classes_out(cloud)),
        bounds=_bounds(cloud),
        nodes=milled.nodes,
        depth=milled.depth,
    )


def _classes_out(cloud: Cloud) -> NDArray[np.int64]:
    return cloud.milled.tally.counted.get("classification", _NO_COUNTS)


def compare(cloud: Cloud) -> Agreement:
    """Whether the one is the other."""
    went_in, came_out = cloud.source.sent.point_count, cloud.milled.product.points
    classes = _classes_agree(cloud)
    return Agreement(
        points=went_in == came_out,
        classes=classes,
        bounds=_bounds_hold(cloud),
        statement=_statement(cloud, classes),
    )


def _statement(cloud: Cloud, classes: bool) -> str:
    source, came_out = cloud.source, cloud.milled.product.points
    promised, new = source.sent.point_count, cloud.milled.reclassified
    if promised != came_out:
        rescued = f"{source.point_count} were rescued, and " if source.origin else ""
        return f"The source promises {promised} points; {rescued}{came_out} came out."
    if not promised:
        return "The source has no points, and neither has the COPC file."
    all_are = f"All {promised} points of the source are" if promised > 1 else "Its one point is"
    if not classes:
        return f"{all_are} in the COPC file; the numbers by class differ."
    each = f", but for {new} that were not classified and are now" if new else ""
    return f"{all_are} in the COPC file; each class has as many as before{each}."


def _classes_agree(cloud: Cloud) -> bool:
    """Whether there are as many of each class; where unclassified points got one, of the others."""
    before, after = cloud.milled.source_classes, _classes_out(cloud)
    if not cloud.milled.reclassified:
        return bool(np.array_equal(before, after))
    return bool(np.array_equal(before[3:], after[3:]) and before.sum() == after.sum())


def _bounds_hold(cloud: Cloud) -> bool:
    """Whether the header's bounds are those of the points, up to a unit of the coordinates."""
    source, product = cloud.source, cloud.milled.product
    if not product.points:
        return True
    stated, true = [*source.mins, *source.maxs], [*product.mins, *product.maxs]
    units = [abs(scale) for scale in source.scales] * 2
    return all(
        abs(said - found) <= unit for said, found, unit in zip(stated, true, units, strict=True)
    )


def _bounds(cloud: Cloud) -> Box | None:
    product = cloud.milled.product
    return Box(min=product.mins, max=product.maxs) if product.points else None


def _classes(counts: NDArray[np.int64]) -> dict[str, int]:
    return {str(number): int(counts[number]) for number in np.flatnonzero(counts).tolist()}


def _corner(values: tuple[float, float, float]) -> Corner:
    """JSON has no NaN; a header may."""
    x, y, z = (value if np.isfinite(value) else None for value in values)
    return x, y, z

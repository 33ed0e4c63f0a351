"""What the certificate says of the ground."""

from dataclasses import asdict

import numpy as np

from services.processor.pointcloud.ground.rule import GROUND, GroundFilter
from services.processor.pointcloud.las.lengths import lengths_of
from services.processor.pointcloud.products.kind import Cloud
from services.processor.pointcloud.proof.certificate_form import FilterFacts, Ground

_BY_SOURCE = f"Ground is what the source has in class {GROUND}."
_BY_FILTER = (
    f"The source has next to no points in class {GROUND}. Ground is what a progressive morphological "
    "filter has found among all points that are neither noise nor withheld."
)


def account_for_ground(cloud: Cloud) -> Ground | None:
    """Who says which points are ground, and how; None if nobody had to know, or nobody could say."""
    surface, found = cloud.milled.surface, cloud.milled.ground
    counted = surface is not None and "ground_count" in surface.view.layers
    if not counted and found is None:
        return None
    lengths = lengths_of(cloud.crs)
    points = None
    if surface and counted:
        points = int(surface.layer("ground_count").sum(dtype=np.int64))
    return Ground(
        by="filter" if found else "source",
        statement=_BY_FILTER if found else _BY_SOURCE,
        points=points,
        filter=FilterFacts(
            cell_in_metres=found.frame.cell * lengths.across, **asdict(GroundFilter())
        )
        if found
        else None,
        assumed=list(lengths.assumed) if found else [],
        points_reclassified=cloud.milled.reclassified,
    )

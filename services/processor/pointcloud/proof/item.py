"""item.json: a STAC 1.1 item of the cloud and its products, for catalogues of geodata.

What nobody has said stays out: a cloud without a coordinate system has no geometry and no box.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.las.dimensions import dimensions_of, schemas_of, statistics_of
from services.processor.pointcloud.las.instants import captured, file_date
from services.processor.pointcloud.products.info import describe_density
from services.processor.pointcloud.products.kind import Cloud
from services.processor.pointcloud.proof.certificate import Account, pointmill_version
from services.processor.pointcloud.proof.certificate_form import FileFacts, Product
from services.processor.pointcloud.proof.footprint import (
    Footprint,
    footprint_of_boundary,
    footprint_of_bounds,
    rectangle,
)

EXTENSIONS = tuple(
    f"https://stac-extensions.github.io/{name}/v{version}/schema.json"
    for name, version in (
        ("pointcloud", "2.0.0"),
        ("projection", "2.0.0"),
        ("file", "2.1.0"),
        ("processing", "1.2.0"),
    )
)
TITLES = {
    "copc": "Point cloud, cloud-optimized",
    "certificate": "What went in, what came out, what was changed",
}
_ROLES = {
    "copc": ["data"],
    "certificate": ["metadata"],
    "info": ["metadata"],
    "preview": ["overview", "thumbnail"],
    "hillshade": ["visual"],
    "rgb": ["visual"],
}
_ROLES_BY_TYPE = {"image/png": ["overview"], "application/json": ["metadata"]}
_SHA256 = "1220"
"""Multihash: the code of SHA-256 and its length, 32 bytes."""

_UNKNOWN = ("1980-01-06T00:00:00Z", "9999-12-31T23:59:59Z")
"""From the first GPS time to the last date that can be written: the whole of what is possible."""


def describe_item(
    cloud: Cloud,
    account: Account,
    source_file: FileFacts,
    products: Mapping[str, Product],
    boundary: Path | None,
) -> dict[str, Any]:
    """The content of item.json; it does not depend on when or by how many processes it was milled.

    Args:
        cloud: what was milled.
        account: what else is known of the work.
        source_file: size and checksums of the source.
        products: the files that were made.
        boundary: the product with the outline of the cloud, if it was made.
    """
    footprint = _footprint(cloud, boundary)
    date, dated_by = _dated(cloud)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": _id(account.source_name, source_file.sha256),
        "geometry": footprint.geometry if footprint else None,
        "properties": {
            "title": account.source_name or "Point cloud",
            "description": _description(cloud, footprint, dated_by),
            **date,
            **_pointcloud(cloud),
            **_projection(cloud),
            **_processing(cloud, account, source_file),
        },
        "links": [],
        "assets": _assets(products, account.titles),
    }
    if footprint:
        item["bbox"] = list(footprint.bbox)
    return item


def _id(name: str | None, sha256: str) -> str:
    """Readable, and another for another file of the same name."""
    stem = re.sub(r"(\.copc)?\.la[sz]$", "", name or "cloud", flags=re.IGNORECASE)
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.")[:60]
    return f"{plain or 'cloud'}-{sha256[:12]}"


def _footprint(cloud: Cloud, boundary: Path | None) -> Footprint | None:
    product = cloud.milled.product
    if not product.points:
        return None
    bounds = footprint_of_bounds(cloud.crs, product.mins, product.maxs)
    if bounds is None or boundary is None:
        return bounds
    return footprint_of_boundary(boundary) or bounds


def _dated(cloud: Cloud) -> tuple[dict[str, str | None], str]:
    """STAC's members on time, and a sentence on what they rest on."""
    if span := captured(cloud.source, cloud.milled.ranges):
        first, last = map(_instant, span)
        if first == last:
            return {"datetime": first}, "The time is that of the points."
        range_ = {"datetime": None, "start_datetime": first, "end_datetime": last}
        return range_, "The time is that of the first and the last point."
    if day := file_date(cloud.source):
        midnight = datetime.combine(day, time(), UTC)
        return (
            {"datetime": _instant(midnight)},
            "The points do not tell when they were captured; the date is that of the source file.",
        )
    start, end = _UNKNOWN
    range_ = {"datetime": None, "start_datetime": start, "end_datetime": end}
    return range_, "Nothing tells when the points were captured."


def _instant(moment: datetime) -> str:
    """As RFC 3339 writes it, to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace(".000+", "+").replace("+00:00", "Z")


def _description(cloud: Cloud, footprint: Footprint | None, dated_by: str) -> str:
    points = cloud.milled.product.points
    sentences = [f"{points} point{'s' if points != 1 else ''}.", dated_by]
    if points and cloud.crs.wkt is None:
        sentences.append(
            "The coordinate system is not known, and so is not the place on the globe."
        )
    elif points and footprint is None:
        sentences.append("The coordinates have no place on the globe in their coordinate system.")
    return " ".join(sentences)


def _pointcloud(cloud: Cloud) -> dict[str, Any]:
    dimensions = dimensions_of(cloud)
    found: dict[str, Any] = {
        "pc:count": cloud.milled.product.points,
        "pc:type": "lidar" if _has_pulses(cloud) else "other",
        "pc:schemas": schemas_of(dimensions),
    }
    if density := describe_density(cloud.milled, cloud.crs):
        found["pc:density"] = density["points_per_square_unit"]
    if statistics := statistics_of(cloud, dimensions):
        found["pc:statistics"] = statistics
    return found


def _has_pulses(cloud: Cloud) -> bool:
    """Whether pulses had more than one return or times of their own; images have neither."""
    returns = cloud.milled.tally.counted.get("returns", np.zeros(256, np.int64)).reshape(16, 16)
    low, high = cloud.milled.ranges.by_name.get("gps_time", (0.0, 0.0))
    return bool(returns[2:].any() or high > low)


def _projection(cloud: Cloud) -> dict[str, Any]:
    product, crs = cloud.milled.product, cloud.crs
    found: dict[str, Any] = {"proj:code": f"EPSG:{crs.epsg}" if crs.epsg else None}
    if wkt2 := _wkt2(crs):
        found["proj:wkt2"] = wkt2
    if product.points:
        low, high = _shown(cloud, product.mins), _shown(cloud, product.maxs)
        found["proj:bbox"] = [*low, *high]
        if crs.name:
            found["proj:geometry"] = rectangle(low, high)
    return found


def _shown(cloud: Cloud, corner: Sequence[float]) -> list[float]:
    """Coordinates without the noise behind the digits that the scale has."""
    digits = [math.ceil(-math.log10(abs(scale))) + 3 for scale in cloud.source.scales]
    return [round(value, max(places, 0)) for value, places in zip(corner, digits, strict=True)]


def _wkt2(crs: CloudCrs) -> str | None:
    return CRS.from_wkt(crs.wkt).to_wkt("WKT2_2019") if crs.name and crs.wkt else None


def _processing(cloud: Cloud, account: Account, source_file: FileFacts) -> dict[str, Any]:
    source, product = cloud.source, cloud.milled.product
    version = ".".join(map(str, source.version))
    lineage = (
        f"Milled from {account.source_name or 'a file'} (LAS {version}, point format "
        f"{source.point_format}, SHA-256 {source_file.sha256}) into COPC (point format "
        f"{product.point_format}). The certificate says what was changed."
    )
    return {
        "processing:level": "L1",
        "processing:lineage": lineage,
        "processing:software": {"Pointmill": pointmill_version()},
        "processing:version": pointmill_version(),
    }


def _assets(products: Mapping[str, Product], titles: Mapping[str, str]) -> dict[str, Any]:
    found = {
        name: {
            "href": f"./{product.file}",
            "type": product.media_type,
            "title": titles.get(name) or TITLES.get(name) or name,
            "roles": _ROLES.get(name) or _ROLES_BY_TYPE.get(product.media_type) or ["data"],
            "file:size": product.bytes,
            "file:checksum": _SHA256 + product.sha256,
        }
        for name, product in products.items()
    }
    # It is written last, and speaks of this file too.
    found["certificate"] = {
        "href": "./certificate.json",
        "type": "application/json",
        "title": TITLES["certificate"],
        "roles": _ROLES["certificate"],
    }
    return found

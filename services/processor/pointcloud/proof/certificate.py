"""The certificate: what went in, what came out, and everything that was changed on the way."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyproj

from services.processor.pointcloud.ground.account import account_for_ground
from services.processor.pointcloud.las.conversion import describe_conversion
from services.processor.pointcloud.las.crs import CloudCrs, describe_crs
from services.processor.pointcloud.las.extra import read_extra_bytes
from services.processor.pointcloud.las.inheritance import reason_to_drop
from services.processor.pointcloud.octree.copc import plain_name
from services.processor.pointcloud.products.kind import Cloud
from services.processor.pointcloud.proof.certificate_form import (
    Certificate,
    Conversion,
    CrsFacts,
    Effort,
    FileFacts,
    Note,
    Product,
    Record,
    Repair,
    Salvage,
)
from services.processor.pointcloud.proof.comparison import compare, copc_facts, source_facts
from shared.preflight import Oddity

_LIBRARIES = ("lazrs", "laszip", "numpy", "pyproj", "rasterio", "scipy", "contourpy", "pillow")

DONE = {
    "bounds_wrong": "The product's header has the bounds of its points.",
    "bounds_zero": "The product's header has the bounds of its points.",
    "chunk_size_unusual": "The product has a chunk for each node, none of them large.",
    "chunk_table_incomplete": "The product has a complete table of chunks.",
    "copc_by_name_only": "The product is a COPC.",
    "copc_hierarchy_damaged": "The product has an octree of its own.",
    "copc_malformed": "The product is a COPC.",
    "extra_bytes_duplicate_name": "All but the first of the dimensions got a number to their name.",
    "header_size_unusual": "The product's header has the size that LAS 1.4 says.",
    "laszip_vlr_stray": "The product is compressed, and says how.",
    "laz_item_version_4": "The product is compressed in the way that every reader knows.",
    "legacy_count_mismatch": "The product counts its points in the 64-bit field alone.",
    "legacy_count_missing": "The product counts its points in the 64-bit field alone.",
    "point_format_newer_than_version": "The product is LAS 1.4, which has its point format.",
    "returns_in_header_wrong": "The product's header counts the returns of its points.",
    "trailing_bytes": "They are not in the product.",
    "wkt_bit_missing": "The product's header says WKT.",
}
"""Oddities of the source that the product does not have, and what it has instead."""

_FOUND = {
    "wkt_vlr": "A WKT record of the source says it.",
    "wkt_evlr": "A WKT record behind the points of the source says it.",
    "geotiff": "The GeoTIFF keys of the source name it; the product says it as WKT.",
    "parameter": "The caller gave it with the parameter `crs`.",
    "none": "The source does not say it, and the caller has given none.",
}


@dataclass(frozen=True)
class Account:
    """What is known of the work besides the cloud itself.

    Attributes:
        source_name: the name of the source as people know it.
        parameters: what the caller asked for.
        oddities: what is worth a sentence.
        left_out: why products that were asked for were not made.
        cpu_seconds: what each product took.
        details: what products say of how they were made.
        salvage: what was rescued and lost, if that was asked for.
        titles: what the products are, for people.
    """

    source_name: str | None
    parameters: Mapping[str, Any]
    oddities: list[Oddity]
    left_out: Mapping[str, str] = field(default_factory=dict)
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    salvage: Mapping[str, Any] | None = None
    titles: Mapping[str, str] = field(default_factory=dict)


def certify(
    cloud: Cloud,
    account: Account,
    source_file: FileFacts,
    products: Mapping[str, Product],
    effort: Effort,
) -> Certificate:
    """The certificate of a milled cloud.

    Args:
        cloud: what was milled.
        account: what else is known of the work.
        source_file: size and checksums of the source.
        products: the files that were made, but for the certificate itself.
        effort: what the work took.
    """
    return Certificate(
        source=source_facts(cloud, source_file),
        copc=copc_facts(cloud),
        agreement=compare(cloud),
        crs=_crs(cloud.crs),
        salvage=Salvage.model_validate(account.salvage) if account.salvage else None,
        ground=account_for_ground(cloud),
        conversion=_conversion(cloud),
        records=_records(cloud),
        repairs=[
            Repair(code=oddity.code, message=oddity.message, done=DONE[oddity.code])
            for oddity in account.oddities
            if oddity.code in DONE
        ],
        warnings=_notes(oddity for oddity in account.oddities if oddity.code not in DONE),
        products=dict(products),
        products_left_out=dict(account.left_out),
        details=dict(account.details),
        parameters=dict(account.parameters),
        effort=effort,
        software=_software(),
    )


def _crs(crs: CloudCrs) -> CrsFacts:
    statement = _FOUND[crs.found]
    if crs.found != "none" and crs.name is None:
        statement = "The source has records that should say it, but they name no known system."
    return CrsFacts(**describe_crs(crs), statement=statement, missing=_notes(_missing(crs)))


def _missing(crs: CloudCrs) -> Iterable[Oddity]:
    """What nobody has said about where the points are."""
    if crs.wkt is None:
        yield Oddity(
            "crs",
            "Nothing says where on earth the points are; give the coordinate system with the "
            "parameter `crs`, for example `crs=EPSG:25832`.",
        )
        return
    if crs.name is None:
        yield Oddity(
            "crs_meaning",
            "The WKT of the source is kept as it is, but cannot be understood; give the coordinate "
            "system with the parameter `crs`.",
        )
        return
    if crs.epsg is None:
        yield Oddity(
            "epsg_code",
            "No EPSG code means this coordinate system; it has to be read from the WKT.",
        )
    if crs.vertical_unit is None:
        yield Oddity(
            "vertical_datum",
            "Nothing says what the heights refer to; give a compound system with the parameter "
            "`crs`, for example `crs=EPSG:25832+7837`.",
        )


def _conversion(cloud: Cloud) -> Conversion:
    source = cloud.source
    changed = describe_conversion(source.point_format, int(cloud.milled.source_classes[12]))
    extra = read_extra_bytes(source)
    if cloud.milled.reclassified:
        changed.append(
            f"{cloud.milled.reclassified} points that nobody had classified got a class: ground, or "
            "unclassified."
        )
    for name in extra.tuples:
        changed.append(
            f"The members of the extra dimension {name!r} became dimensions of their own."
        )
    for name in extra.duplicates:
        changed.append(f"All but the first extra dimension called {name!r} got a number.")
    for name in sorted({record.user_id for record in source.carried}):
        if not name.isascii():
            changed.append(f"The user id {name!r} of records became {plain_name(name).decode()!r}.")
    return Conversion(
        source_point_format=source.point_format,
        product_point_format=cloud.milled.product.point_format,
        changed=changed,
    )


def _records(cloud: Cloud) -> list[Record]:
    source = cloud.source.sent
    reasons = [reason_to_drop(source, record, cloud.crs) for record in source.carried]
    return [
        Record(
            user_id=record.user_id,
            record_id=record.record_id,
            bytes=record.length,
            extended=record.extended,
            kept=reason is None,
            reason=reason,
        )
        for record, reason in zip(source.carried, reasons, strict=True)
    ]


def _notes(oddities: Iterable[Oddity]) -> list[Note]:
    return [Note(code=oddity.code, message=oddity.message) for oddity in oddities]


def _software() -> dict[str, str]:
    found = {"pointmill": pointmill_version(), "python": platform.python_version()}
    return found | {"proj": pyproj.proj_version_str} | {name: version(name) for name in _LIBRARIES}


def pointmill_version() -> str:
    """The version that is installed; `0` for a bare copy of the sources."""
    try:
        return version("pointmill")
    except PackageNotFoundError:
        return "0"

"""The certificate: what went in, what came out, and everything that was changed on the way."""

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyproj
from numpy.typing import NDArray

from services.processor.pointcloud.conversion import describe_conversion
from services.processor.pointcloud.crs import describe_crs
from services.processor.pointcloud.extra import read_extra_bytes
from services.processor.pointcloud.inheritance import reason_to_drop
from services.processor.pointcloud.products.kind import Cloud
from services.processor.pointcloud.source import Source
from shared.preflight import Oddity

_READ_BYTES = 1 << 20
_LIBRARIES = ("lazrs", "laszip", "numpy", "pyproj", "pillow")


def certify(
    cloud: Cloud,
    products: dict[str, Path],
    products_left_out: dict[str, str],
    oddities: Sequence[Oddity],
) -> dict[str, Any]:
    """The content of certificate.json, except what is known only when all is done.

    Args:
        cloud: what was milled.
        products: the files that were made.
        products_left_out: why others that were asked for were not.
        oddities: what is worth a sentence.
    """
    source, crs, milled = cloud.source, cloud.crs, cloud.milled
    product = milled.product
    bounds = {"min": product.mins, "max": product.maxs}
    return {
        "source": {
            **checksums(source.path),
            "version": ".".join(map(str, source.version)),
            "point_format": source.point_format,
            "record_length": source.record_length,
            "points": source.point_count,
            "bounds_in_header": {"min": _finite(source.mins), "max": _finite(source.maxs)},
            "classes": _classes(milled.source_classes),
            "decoder": milled.reading.decoder,
        },
        "copc": {
            "version": "1.4",
            "point_format": product.point_format,
            "record_length": product.record_length,
            "points": product.points,
            "bounds": bounds if product.points else None,
            "classes": _classes(
                milled.tally.counted.get("classification", np.zeros(256, np.int64))
            ),
            "nodes": milled.nodes,
        },
        "products": {name: checksums(path) for name, path in products.items()},
        "products_left_out": products_left_out,
        "crs": describe_crs(crs),
        "changed": _changes(source),
        "records": [
            {
                "user_id": record.user_id,
                "record_id": record.record_id,
                "bytes": record.length,
                "kept": (reason := reason_to_drop(source, record, crs)) is None,
                "reason": reason,
            }
            for record in source.carried
        ],
        "oddities": [{"code": oddity.code, "message": oddity.message} for oddity in oddities],
        "software": {
            "python": platform.python_version(),
            "proj": pyproj.proj_version_str,
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def _changes(source: Source) -> list[str]:
    changes = describe_conversion(source.point_format)
    extra = read_extra_bytes(source)
    for name in extra.tuples:
        changes.append(
            f"The members of the extra dimension {name!r} became dimensions of their own."
        )
    for name in extra.duplicates:
        changes.append(f"All but the first extra dimension called {name!r} got a number.")
    return changes


def checksums(path: Path) -> dict[str, Any]:
    """Size and checksums of a file."""
    sha256 = hashlib.sha256()
    crc32c: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            sha256.update(piece)
            crc32c.update(piece)
    return {
        "bytes": path.stat().st_size,
        "sha256": sha256.hexdigest(),
        "crc32c": crc32c.digest().hex(),
    }


def _classes(counts: NDArray[np.int64]) -> dict[str, int]:
    return {str(number): int(counts[number]) for number in np.flatnonzero(counts).tolist()}


def _finite(values: Sequence[float]) -> list[float | None]:
    """JSON has no NaN; a header may."""
    return [value if np.isfinite(value) else None for value in values]

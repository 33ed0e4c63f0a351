"""GeoJSON as RFC 7946 wants it: longitude and latitude on WGS 84, wherever the cloud's CRS is known.

Where it is not, or is not defined at some of its places, coordinates stay as they are in the cloud, and the file says so.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from services.processor.pointcloud.products.kind import Cloud

Places = NDArray[np.float64]
"""Coordinates of the cloud along x and y, one row a place."""

Nested = Places | Sequence["Nested"]

_DEGREE_DECIMALS = 7
"""About a centimetre."""

_WGS84 = "Longitude and latitude on WGS 84."
_OWN = (
    "The cloud's coordinate system is unknown, or not defined where some of the cloud lies, so these "
    "are its own coordinates and not the longitude and latitude that RFC 7946 asks for. Name the "
    "system in the parameter crs."
)


@dataclass(frozen=True)
class Feature:
    """One feature.

    Attributes:
        kind: a geometry type, such as `LineString`.
        places: its coordinates, nested as that type wants them, the places of each line in an
            array. Outer rings run anticlockwise, inner ones clockwise; rings end where they begin.
        properties: what is known about it.
    """

    kind: str
    places: Nested
    properties: dict[str, Any]


def write_features(
    path: Path, features: Iterable[Feature], cloud: Cloud, about: dict[str, Any]
) -> None:
    """Write a collection; `about` are members of it that say what it is."""
    features = list(features)
    transformer = _to_wgs84(cloud)
    try:
        collection = _collection(features, cloud, about, transformer)
    except _OffTheGlobe:
        collection = _collection(features, cloud, about, None)
    path.write_text(json.dumps(collection, allow_nan=False, separators=(",", ":")) + "\n")


class _OffTheGlobe(Exception):
    """Some of the cloud lies where its system has no longitude and latitude."""


def _collection(
    features: Sequence[Feature],
    cloud: Cloud,
    about: dict[str, Any],
    transformer: Transformer | None,
) -> dict[str, Any]:
    # Half a unit of the records' integers is lost in them already.
    finest = min(cloud.source.scales[:2])
    decimals = _DEGREE_DECIMALS if transformer else int(np.clip(np.ceil(-np.log10(finest)), 0, 9))
    return {
        "type": "FeatureCollection",
        "coordinates_are": _WGS84 if transformer else _OWN,
        **about,
        "features": [
            {
                "type": "Feature",
                "geometry": {
                    "type": feature.kind,
                    "coordinates": _written(feature.places, transformer, decimals),
                },
                "properties": feature.properties,
            }
            for feature in features
        ],
    }


def _written(places: Nested, transformer: Transformer | None, decimals: int) -> list[Any]:
    if not isinstance(places, np.ndarray):
        return [_written(part, transformer, decimals) for part in places]
    if transformer:
        places = np.column_stack(transformer.transform(places[:, 0], places[:, 1]))
        if not np.isfinite(places).all():
            raise _OffTheGlobe
    rounded: list[Any] = np.round(places, decimals).tolist()
    return rounded


def _to_wgs84(cloud: Cloud) -> Transformer | None:
    """From the cloud's coordinates; None if nobody knows how."""
    if not cloud.crs.name or not cloud.crs.wkt:
        return None
    try:
        crs = CRS.from_wkt(cloud.crs.wkt)
        flat = (crs.sub_crs_list or [crs])[0]
        transformer = Transformer.from_crs(flat, "EPSG:4326", always_xy=True)
        # A cloud far from where its system is defined has no place on the globe.
        corner = transformer.transform(*cloud.milled.product.mins[:2], errcheck=True)
    except (CRSError, ProjError):
        return None
    return transformer if np.isfinite(corner).all() else None

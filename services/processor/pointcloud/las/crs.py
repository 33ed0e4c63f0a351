"""Which coordinate system a cloud is in, who says so, and how to say it in WKT.

A record is believed in the order that the LAS version asks for: WKT first where the file's WKT bit
is set or the point format demands WKT, GeoTIFF keys first otherwise; the other one if that fails.
"""

import struct
import warnings
from dataclasses import dataclass, replace
from typing import Any

from pyproj import CRS
from pyproj.crs import CompoundCRS
from pyproj.exceptions import CRSError

from services.processor.pointcloud.failures import crs_unknown
from services.processor.pointcloud.las.source import Source
from shared.preflight import Oddity

_WKT_BIT = 0x10
_PROJECTED_KEY, _GEOGRAPHIC_KEY, _VERTICAL_KEY, _VERTICAL_UNIT_KEY = 3072, 2048, 4096, 4099
_NAVD88 = (5103, 5703)
"""The height system of North America: its code in GeoTIFF 1.0, and today's."""

_NAVD88_BY_UNIT = {9002: 8228, 9003: 6360}
"""The same heights in feet and in US survey feet have codes of their own."""

_USER_DEFINED = 32767
_WKT_RECORDS = (("LASF_Projection", 2112), ("liblas", 2112))


@dataclass(frozen=True)
class CloudCrs:
    """A cloud's coordinate system.

    Attributes:
        found: `wkt_vlr`, `wkt_evlr`, `geotiff`, `parameter`, or `none`.
        wkt: what the product's WKT record says; None if nothing is known.
        name, epsg, vertical_epsg, proj4: what PROJ makes of it, as far as it can.
        unit, vertical_unit: names such as `metre` or `US survey foot`.
        geographic: whether x and y are degrees.
        oddities: what is wrong with the records.
    """

    found: str
    wkt: str | None = None
    name: str | None = None
    epsg: int | None = None
    vertical_epsg: int | None = None
    proj4: str | None = None
    unit: str | None = None
    vertical_unit: str | None = None
    geographic: bool = False
    oddities: tuple[Oddity, ...] = ()


def find_crs(source: Source, override: str | None = None) -> CloudCrs:
    """The coordinate system of the source, or the one that the caller asks for instead.

    Raises TaskFailed `crs_unknown` if the caller's one does not exist.
    """
    if override is not None:
        return _chosen(source, override)
    ways = [_from_geotiff, _from_wkt]
    if source.global_encoding & _WKT_BIT or source.point_format >= 6:
        ways.reverse()
    oddities: list[Oddity] = []
    candidates: list[CloudCrs] = []
    for way in ways:
        if (candidate := way(source)) is not None:
            oddities += candidate.oddities
            candidates.append(candidate)
            if candidate.name:
                break
    if not candidates:
        missing = Oddity("no_crs", "The file does not say its coordinate reference system.")
        return CloudCrs("none", oddities=(missing,))
    known = [candidate for candidate in candidates if candidate.name]
    best = (known or candidates)[0]
    return replace(best, oddities=tuple(oddities))


def describe_crs(crs: CloudCrs) -> dict[str, Any]:
    """The coordinate system and who says so."""
    return {
        "found": crs.found,
        "name": crs.name,
        "epsg": crs.epsg,
        "vertical_epsg": crs.vertical_epsg,
        "wkt": crs.wkt,
        "proj4": crs.proj4,
        "unit": crs.unit,
        "vertical_unit": crs.vertical_unit,
        "geographic": crs.geographic,
    }


def _chosen(source: Source, override: str) -> CloudCrs:
    try:
        crs = CRS.from_user_input(override)
    except CRSError as error:
        raise crs_unknown(override) from error
    stated = find_crs(source)
    said = "nothing" if stated.found == "none" else stated.name or "something unreadable"
    note = Oddity(
        "crs_overridden",
        f"The coordinate system was given by the caller: {crs.name}. The file itself says {said}.",
    )
    return replace(_described(crs, "parameter", _to_wkt(crs)), oddities=(note,))


def _from_wkt(source: Source) -> CloudCrs | None:
    for user_id, record_id in _WKT_RECORDS:
        record = source.find(user_id, record_id)
        if record is None:
            continue
        payload = record.payload(source.path).split(b"\0")[0]
        text = payload.decode("utf-8", "replace").strip()
        if not text:
            continue
        found = "wkt_evlr" if record.extended else "wkt_vlr"
        try:
            return _described(CRS.from_wkt(text), found, text)
        except CRSError:
            note = Oddity("crs_unreadable", "The file's WKT is not one that PROJ understands.")
            return CloudCrs(found, wkt=text, oddities=(note,))
    return None


def _from_geotiff(source: Source) -> CloudCrs | None:
    record = source.find("LASF_Projection", 34735)
    if record is None:
        return None
    keys = _geotiff_keys(record.payload(source.path))
    code = keys.get(_PROJECTED_KEY) or keys.get(_GEOGRAPHIC_KEY)
    if not code:
        note = Oddity("crs_unresolved", "The file's GeoTIFF keys name no coordinate system.")
        return CloudCrs("geotiff", oddities=(note,))
    try:
        crs = CRS.from_epsg(code)
    except CRSError:
        said = "a user-defined coordinate system" if code == _USER_DEFINED else f"the code {code}"
        note = Oddity("crs_unresolved", f"The GeoTIFF keys name {said}, which PROJ cannot resolve.")
        return CloudCrs("geotiff", oddities=(note,))
    oddities: tuple[Oddity, ...] = ()
    vertical_code = keys.get(_VERTICAL_KEY)
    if vertical_code in _NAVD88:
        vertical_code = _NAVD88_BY_UNIT.get(keys.get(_VERTICAL_UNIT_KEY, 0), 5703)
    if vertical_code:
        crs, oddities = _with_heights(crs, vertical_code)
    return replace(_described(crs, "geotiff", _to_wkt(crs)), oddities=oddities)


def _with_heights(crs: CRS, code: int) -> tuple[CRS, tuple[Oddity, ...]]:
    """The compound of a horizontal system and the vertical one of this code, if there is one."""
    try:
        vertical = CRS.from_epsg(code)
        if vertical.is_vertical:
            return CompoundCRS(f"{crs.name} + {vertical.name}", [crs, vertical]), ()
    except CRSError:
        pass
    note = Oddity(
        "vertical_crs_unresolved",
        f"The GeoTIFF keys name the vertical system {code}, which PROJ cannot resolve.",
    )
    return crs, (note,)


def _geotiff_keys(payload: bytes) -> dict[int, int]:
    """The keys whose value stands in the directory itself; codes do."""
    if len(payload) < 8:
        return {}
    count = struct.unpack_from("<H", payload, 6)[0]
    found = {}
    for at in range(8, min(8 + 8 * count, len(payload) - 7), 8):
        key, location, _, value = struct.unpack_from("<4H", payload, at)
        if location == 0:
            found[key] = value
    return found


def _to_wkt(crs: CRS) -> str:
    """WKT 1, which LAS asks for; WKT 2 for what WKT 1 cannot say."""
    try:
        return crs.to_wkt("WKT1_GDAL") or crs.to_wkt()
    except CRSError:
        return crs.to_wkt()


def _described(crs: CRS, found: str, wkt: str) -> CloudCrs:
    parts = crs.sub_crs_list or [crs]
    vertical = next((part for part in parts if part.is_vertical), None)
    axes = crs.axis_info
    oddities: tuple[Oddity, ...] = ()
    epsg = parts[0].to_epsg()
    if epsg is None:
        note = "The coordinate system is described completely, but matches no EPSG code."
        oddities = (Oddity("crs_without_epsg", note),)
    with warnings.catch_warnings():
        # PROJ strings lose detail, and pyproj says so each time; the WKT stands beside it.
        warnings.simplefilter("ignore", UserWarning)
        proj4 = crs.to_proj4() or None
    return CloudCrs(
        found=found,
        wkt=wkt,
        name=crs.name,
        epsg=epsg,
        vertical_epsg=vertical.to_epsg() if vertical else None,
        proj4=proj4,
        unit=axes[0].unit_name if axes else None,
        vertical_unit=axes[2].unit_name if len(axes) > 2 else None,
        geographic=parts[0].is_geographic,
        oddities=oddities,
    )

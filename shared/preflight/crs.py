"""Whether a file says where on earth it is; the meaning is for the engine to find."""

import struct
from collections.abc import Iterator

from shared.preflight.header import Header, printable
from shared.preflight.model import Oddity, StatedCrs, Vlr
from shared.preflight.source import Source
from shared.preflight.wkt import parts_of

_PROJECTION = "LASF_Projection"
_WKT_RECORDS = ((_PROJECTION, 2112), ("liblas", 2112))
_KEYS, _TEXTS = 34735, 34737
_LONGEST_WKT = 64 << 10
_LONGEST_KEYS = 8 << 10
_GEOGRAPHIC_KEY, _PROJECTED_KEY, _VERTICAL_KEY = 2048, 3072, 4096
_NAME_KEYS = (3073, 1026, 2049)  # of the projected system, of all, of the geographic system
_USER_DEFINED = 32767
_WKT_BIT = 0x10
HOW_TO_NAME_IT = "give it with the parameter `crs`, for example `crs=EPSG:25832`"


def stated_crs(source: Source, header: Header, records: tuple[Vlr, ...]) -> StatedCrs | None:
    """What the records say, those first that the LAS version asks for; None if there are none."""
    found = [_from_geotiff(source, records), _from_wkt(source, records)]
    if header.point_format >= 6 or header.global_encoding & _WKT_BIT:
        found.reverse()
    said = [crs for crs in found if crs is not None]
    coded = [crs for crs in said if crs.epsg is not None]
    return next(iter(coded or said), None)


def crs_oddities(header: Header, crs: StatedCrs | None) -> Iterator[Oddity]:
    """Say whether a CRS is missing, without a code anybody could look up, or plainly not theirs."""
    if crs is None:
        yield Oddity(
            "no_crs",
            f"The file does not say its coordinate reference system; {HOW_TO_NAME_IT}.",
        )
    elif crs.epsg is None:
        yield Oddity(
            "crs_without_epsg", "The coordinate reference system is given without an EPSG code."
        )
    if crs is not None and crs.geographic and not _are_degrees(header):
        yield Oddity(
            "crs_contradicts_bounds",
            "The coordinate reference system has degrees, and the bounds are none; if it is wrong, "
            f"{HOW_TO_NAME_IT}.",
        )
    if header.point_format >= 6 and not header.global_encoding & _WKT_BIT:
        yield Oddity(
            "wkt_bit_missing", "Point formats 6 to 10 need the CRS as WKT; the header says GeoTIFF."
        )


def _are_degrees(header: Header) -> bool:
    """Whether x and y can be longitude and latitude, in either order."""
    most = [max(abs(low), abs(high)) for low, high in zip(header.mins, header.maxs, strict=True)]
    return header.point_count == 0 or (max(most[:2]) <= 360 and min(most[:2]) <= 90)


def _from_wkt(source: Source, records: tuple[Vlr, ...]) -> StatedCrs | None:
    for record in records:
        if (record.user_id, record.record_id) not in _WKT_RECORDS:
            continue
        content = source.at(record.offset, min(record.length, _LONGEST_WKT))
        text = content.split(b"\0")[0].decode("utf-8", "replace").strip()
        if not text:
            return None
        whole, horizontal, vertical = parts_of(text)
        return StatedCrs(
            origin="wkt",
            name=_shown(whole.name if whole else None),
            epsg=horizontal.epsg if horizontal else None,
            vertical_name=_shown(vertical.name if vertical else None),
            vertical_epsg=vertical.epsg if vertical else None,
            geographic=bool(horizontal and horizontal.geographic),
        )
    return None


def _from_geotiff(source: Source, records: tuple[Vlr, ...]) -> StatedCrs | None:
    directory = _content(source, records, _KEYS)
    if directory is None:
        return None
    keys = {
        key: (place, count, value)
        for key, place, count, value in struct.iter_unpack(
            "<4H", directory[8 : len(directory) // 8 * 8]
        )
    }
    projected, geographic = _code(keys, _PROJECTED_KEY), _code(keys, _GEOGRAPHIC_KEY)
    return StatedCrs(
        origin="geotiff",
        name=_name(keys, _content(source, records, _TEXTS) or b""),
        # A projected system of one's own is only based on the geographic one beside it.
        epsg=projected or (None if _PROJECTED_KEY in keys else geographic),
        vertical_name=None,
        vertical_epsg=_code(keys, _VERTICAL_KEY),
        geographic=_PROJECTED_KEY not in keys and geographic is not None,
    )


def _content(source: Source, records: tuple[Vlr, ...], number: int) -> bytes | None:
    """The content of the first record of this number."""
    for record in records:
        if (record.user_id, record.record_id) == (_PROJECTION, number):
            return source.at(record.offset, min(record.length, _LONGEST_KEYS))
    return None


def _code(keys: dict[int, tuple[int, int, int]], key: int) -> int | None:
    place, _, value = keys.get(key, (1, 0, 0))
    return value if place == 0 and 0 < value < _USER_DEFINED else None


def _name(keys: dict[int, tuple[int, int, int]], texts: bytes) -> str | None:
    for key in _NAME_KEYS:
        place, count, start = keys.get(key, (0, 0, 0))
        if place == _TEXTS and (text := texts[start : start + count].split(b"|")[0]):
            return _shown(printable(text))
    return None


def _shown(name: str | None) -> str | None:
    """A name fit for a log and a terminal; None where there is none."""
    if name is None:
        return None
    return "".join(char if char.isprintable() else "?" for char in name).strip()[:200] or None

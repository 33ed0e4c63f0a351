"""Whether a file says where on earth it is; the meaning is for the engine to read."""

import re
import struct
from collections.abc import Iterator

from shared.preflight.header import Header
from shared.preflight.model import Oddity, Vlr
from shared.preflight.source import Source

_PROJECTION = "LASF_Projection"
_WKT, _GEO_KEYS = 2112, 34735
_CODE_KEYS = {2048, 3072}  # geographic and projected coordinate system
_USER_DEFINED = 32767
_EPSG_AT_END = re.compile(
    rb"""(AUTHORITY\s*\[\s*"EPSG"\s*,\s*"[1-9]\d*"\s*\]|ID\s*\[\s*"EPSG"\s*,\s*[1-9]\d*\s*\])\s*\]\s*$"""
)


def crs_oddities(source: Source, header: Header, records: tuple[Vlr, ...]) -> Iterator[Oddity]:
    """Say whether a CRS is missing, or there without a code anybody could look up."""
    mine = [record for record in records if record.user_id == _PROJECTION]
    wkts = [_wkt(source, record) for record in mine if record.record_id == _WKT]
    codes = [_geo_codes(source, record) for record in mine if record.record_id == _GEO_KEYS]
    if not any(wkts) and not codes:
        yield Oddity("no_crs", "The file does not say its coordinate reference system.")
    elif not any(_EPSG_AT_END.search(wkt) for wkt in wkts) and not any(codes):
        yield Oddity(
            "crs_without_epsg", "The coordinate reference system is given without an EPSG code."
        )
    if header.point_format >= 6 and not header.global_encoding & 0x10:
        yield Oddity(
            "wkt_bit_missing", "Point formats 6 to 10 need the CRS as WKT; the header says GeoTIFF."
        )


def _wkt(source: Source, record: Vlr) -> bytes:
    # The code, if there is one, closes the text.
    tail = min(record.length, 4096)
    return source.at(record.offset + record.length - tail, tail).rstrip(b"\0 \r\n\t")


def _geo_codes(source: Source, record: Vlr) -> list[int]:
    content = source.at(record.offset, min(record.length, 8192))
    keys = struct.iter_unpack("<4H", content[8 : len(content) // 8 * 8])
    return [
        value
        for key, place, _, value in keys
        if key in _CODE_KEYS and place == 0 and 0 < value < _USER_DEFINED
    ]

"""How a point record of each LAS point format lies in memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.void]
"""Point records, one structured element per point."""

_LEGACY = [
    ("X", "<i4"),
    ("Y", "<i4"),
    ("Z", "<i4"),
    ("intensity", "<u2"),
    ("returns", "u1"),  # return number 0-2, number of returns 3-5, scan direction 6, edge 7
    ("classification", "u1"),  # class 0-4, synthetic 5, key point 6, withheld 7
    ("scan_angle_rank", "i1"),
    ("user_data", "u1"),
    ("point_source_id", "<u2"),
]
_EXTENDED = [
    ("X", "<i4"),
    ("Y", "<i4"),
    ("Z", "<i4"),
    ("intensity", "<u2"),
    ("returns", "u1"),  # return number 0-3, number of returns 4-7
    ("flags", "u1"),  # synthetic, key point, withheld, overlap; channel 4-5; direction 6; edge 7
    ("classification", "u1"),
    ("user_data", "u1"),
    ("scan_angle", "<i2"),  # 0.006 degrees
    ("point_source_id", "<u2"),
    ("gps_time", "<f8"),
]
_GPS = [("gps_time", "<f8")]
_RGB = [("red", "<u2"), ("green", "<u2"), ("blue", "<u2")]
_NIR = [("nir", "<u2")]
_WAVE = [("wave_packet", "V29")]

_LAYOUTS = {
    0: _LEGACY,
    1: _LEGACY + _GPS,
    2: _LEGACY + _RGB,
    3: _LEGACY + _GPS + _RGB,
    4: _LEGACY + _GPS + _WAVE,
    5: _LEGACY + _GPS + _RGB + _WAVE,
    6: _EXTENDED,
    7: _EXTENDED + _RGB,
    8: _EXTENDED + _RGB + _NIR,
    9: _EXTENDED + _WAVE,
    10: _EXTENDED + _RGB + _NIR + _WAVE,
}


def base_length(point_format: int) -> int:
    """Bytes of a record of this point format without extra bytes."""
    return np.dtype(_LAYOUTS[point_format]).itemsize


def record_dtype(point_format: int, extra_bytes: int = 0) -> np.dtype[np.void]:
    """The structured type of a record; the field `extra` holds its extra bytes, if there are any."""
    fields: list[Any] = list(_LAYOUTS[point_format])
    if extra_bytes:
        fields.append(("extra", "u1", (extra_bytes,)))
    return np.dtype(fields)


def as_bytes(records: Records) -> NDArray[np.uint8]:
    """The same memory as rows of bytes."""
    return records.view(np.uint8).reshape(len(records), records.dtype.itemsize)


def some_of(records: Records, places: NDArray[np.intp]) -> Records:
    """The records at these places. Indexing would copy field by field, several times as slowly."""
    rows = np.take(as_bytes(records), places, axis=0)
    return rows.reshape(-1).view(records.dtype)

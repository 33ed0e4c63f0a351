"""From any LAS point format to the three that COPC allows: 6, 7 and 8.

What the rules are, and why:

* Return numbers, number of returns, scan direction, edge of flight line, classification, user data,
  source id, intensity, coordinates, colour and extra bytes keep their values.
* The scan angle rank (whole degrees) becomes the scan angle (0.006 degrees), rounded.
* The synthetic, key-point and withheld bits move from the class byte to the flags.
* Class 12 meant "overlap" in formats 0 to 5 and is reserved since. Such a point gets the overlap
  flag; its class number stays 12, for nobody knows which class lies beneath and nothing is invented.
* Formats without GPS time get the time 0.
* Waveform packets (4, 5, 9, 10) have no place in formats 6 to 8 and are left out.
"""

import numpy as np

from services.processor.pointcloud.las.records import Records, as_bytes, record_dtype

_TARGETS = {0: 6, 1: 6, 2: 7, 3: 7, 4: 6, 5: 7, 6: 6, 7: 7, 8: 8, 9: 6, 10: 8}
WAVEFORM_FORMATS = frozenset({4, 5, 9, 10})
_OVERLAP_CLASS = 12
_SCAN_ANGLE_UNIT = 0.006


def target_format(point_format: int) -> int:
    """The point format that a cloud of `point_format` has in a COPC file."""
    return _TARGETS[point_format]


def describe_conversion(point_format: int, overlapping: int = 0) -> list[str]:
    """What `convert` changes in records of this format, one sentence each.

    `overlapping` is how many of them are of class 12.
    """
    target = target_format(point_format)
    if target == point_format:
        return []
    sentences = [f"Point format {point_format} became {target}."]
    if point_format < 6:
        sentences.append("Scan angle ranks (degrees) became scan angles (0.006 degrees), rounded.")
    if point_format < 6 and overlapping:
        sentences.append(
            f"The points of class 12, {overlapping}, got the overlap flag and kept their class number."
        )
    if point_format in (0, 2):
        sentences.append("The source has no GPS time; it is 0 in the product.")
    if point_format in WAVEFORM_FORMATS:
        sentences.append("Waveform packets were left out: COPC has no place for them.")
    return sentences


def convert(records: Records, point_format: int) -> Records:
    """Records of `point_format` as records of its target format; the same array if nothing changes."""
    target = target_format(point_format)
    if target == point_format:
        return records
    extra = records.dtype["extra"].itemsize if "extra" in (records.dtype.names or ()) else 0
    converted = np.zeros(len(records), record_dtype(target, extra))
    # X, Y, Z and intensity lie at the start of every format.
    as_bytes(converted)[:, :14] = as_bytes(records)[:, :14]
    kept = ["user_data", "point_source_id", "gps_time", "red", "green", "blue", "nir", "extra"]
    for name in kept:
        if name in (records.dtype.names or ()) and name in (converted.dtype.names or ()):
            converted[name] = records[name]
    if point_format < 6:
        _spread_legacy_bits(records, converted)
    else:
        for name in ("returns", "flags", "classification", "scan_angle"):
            converted[name] = records[name]
    return converted


def _spread_legacy_bits(records: Records, converted: Records) -> None:
    returns = records["returns"]
    classes = records["classification"]
    number = classes & 0b11111
    converted["returns"] = (returns & 0b111) | ((returns & 0b111000) << 1)
    overlap = (number == _OVERLAP_CLASS).astype(np.uint8) << 3
    converted["flags"] = (classes >> 5) | overlap | (returns & 0b11000000)
    converted["classification"] = number
    angle = records["scan_angle_rank"].astype(np.float64) / _SCAN_ANGLE_UNIT
    converted["scan_angle"] = np.rint(angle).astype(np.int16)

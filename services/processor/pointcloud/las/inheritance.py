"""Which of the source's records the product keeps, and why it does not keep the others."""

from services.processor.pointcloud.las.conversion import WAVEFORM_FORMATS
from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.las.source import Carried, Source

_GEOTIFF = frozenset({34735, 34736, 34737})
_WKT = 2112
_OF_EVERY_COPC = frozenset({("copc", 1), ("copc", 1000), ("laszip encoded", 22204)})
_WAVEFORM_DESCRIPTORS = range(100, 355)
_WAVEFORM_DATA = 65535


def carried_records(source: Source, crs: CloudCrs) -> tuple[Carried, ...]:
    """The records to copy: all but those that the product writes itself or that became wrong."""
    return tuple(record for record in source.carried if reason_to_drop(source, record, crs) is None)


def reason_to_drop(source: Source, record: Carried, crs: CloudCrs) -> str | None:
    """Why the product does not keep this record; None if it does."""
    user, number = record.user_id.lower(), record.record_id
    if user == "copc" or (user, number) in _OF_EVERY_COPC:
        own = (user, number) in _OF_EVERY_COPC
        return "The product has its own." if own else "It belongs to the octree of the source."
    if user == "entwine" and number == 1000:
        return "It describes where the chunks lie in the source."
    if user in ("lasf_projection", "liblas") and number == _WKT and crs.wkt is not None:
        return "The product's WKT record replaces it."
    if user == "lasf_projection" and number in _GEOTIFF and crs.wkt is not None:
        return "LAS demands WKT with this point format; the product's WKT record replaces the keys."
    waveform = number in _WAVEFORM_DESCRIPTORS or number == _WAVEFORM_DATA
    if user == "lasf_spec" and waveform and source.point_format in WAVEFORM_FORMATS:
        return "It belongs to waveform packets, which COPC has no place for."
    return None

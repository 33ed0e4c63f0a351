"""Variable length records before the points, and extended ones behind them."""

import struct

from shared.preflight.header import Header, printable
from shared.preflight.model import Vlr
from shared.preflight.refusals import refusal
from shared.preflight.source import Source

_VLR = struct.Struct("<H16sHH32s")  # 54 bytes, content follows
_EVLR = struct.Struct("<H16sHQ32s")  # 60 bytes
_KNOWN_USERS = ("LASF_Projection", "LASF_Spec", "laszip encoded", "copc", "liblas")


def read_vlrs(source: Source, header: Header, max_vlrs: int) -> tuple[Vlr, ...]:
    """Walk the records between the header and the points.

    Raises:
        TaskFailed: too many, one that does not fit, or some that are there but not counted.
    """
    room = header.point_offset - header.header_size
    _check_count("variable length records", header.vlr_count, max_vlrs)
    if header.vlr_count * _VLR.size > room:
        raise refusal(
            "vlr_outside_file",
            f"The header counts {header.vlr_count} records; between the header and the points "
            f"are {room} bytes, enough for {room // _VLR.size}.",
        )
    vlrs = []
    position = header.header_size
    for number in range(1, header.vlr_count + 1):
        vlr = _vlr_at(source, position)
        if vlr is None or vlr.offset + vlr.length > header.point_offset:
            raise refusal(
                "vlr_outside_file",
                f"Record {number} of {header.vlr_count} at byte {position} runs past byte "
                f"{header.point_offset}, where the points start.",
            )
        vlrs.append(vlr)
        position = vlr.offset + vlr.length
    _check_gap(source, position, header)
    return tuple(vlrs)


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise refusal("too_many_vlrs", f"The header counts {count} {what}; we read {limit}.")


def _vlr_at(source: Source, position: int) -> Vlr | None:
    raw = source.at(position, _VLR.size)
    if len(raw) < _VLR.size:
        return None
    _, user, record_id, length, text = _VLR.unpack(raw)
    return Vlr(printable(user), record_id, position + _VLR.size, length, printable(text))


def _check_gap(source: Source, position: int, header: Header) -> None:
    """Bytes between the last record and the points are legal; a record among them was lost.

    Reading on would drop the CRS in silence.
    """
    if header.point_offset - position < _VLR.size:
        return
    hidden = _vlr_at(source, position)
    if hidden is None or hidden.user_id not in _KNOWN_USERS:
        return
    if hidden.offset + hidden.length <= header.point_offset:
        raise refusal(
            "vlrs_uncounted",
            f"The header counts {header.vlr_count} records, but one more of "
            f"{hidden.user_id} ({hidden.record_id}) follows them at byte {position}.",
        )


def read_evlrs(source: Source, header: Header, max_vlrs: int) -> tuple[Vlr, ...]:
    """Walk the extended records behind the points.

    Raises:
        TaskFailed: too many, or one that lies outside the file or over the points.
    """
    _check_count("extended variable length records", header.evlr_count, max_vlrs)
    evlrs: list[Vlr] = []
    position = header.evlr_offset
    points_end = header.point_offset if header.compressed else header.points_end
    if header.evlr_count and position < points_end:
        raise refusal(
            "evlr_outside_file",
            f"The extended records should start at byte {position}, before the points end.",
        )
    for number in range(1, header.evlr_count + 1):
        raw = source.at(position, _EVLR.size)
        length = _EVLR.unpack(raw)[3] if len(raw) == _EVLR.size else 0
        if len(raw) < _EVLR.size or position + _EVLR.size + length > source.size:
            raise refusal(
                "evlr_outside_file",
                f"Extended record {number} of {header.evlr_count} at byte {position} does not end "
                f"before the file does, at byte {source.size}.",
            )
        _, user, record_id, _, text = _EVLR.unpack(raw)
        position += _EVLR.size
        evlrs.append(Vlr(printable(user), record_id, position, length, printable(text)))
        position += length
    return tuple(evlrs)

"""Extra bytes: dimensions that a file defines for itself (LAS 1.4, record LASF_Spec 4)."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.las.source import Source

_DESCRIPTOR = 192
_TYPES = ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8")
_SCALE_GIVEN, _OFFSET_GIVEN = 8, 16
_MOST_DIMENSIONS = 256
_NEWEST_TYPE = 30
"""Types 11 to 30 are pairs and triples of types 1 to 10; deprecated, but still met."""


@dataclass(frozen=True)
class ExtraDimension:
    """One described number within the extra bytes: `value = raw * scale + offset`."""

    name: str
    type: str
    at: int
    scale: float
    offset: float

    def raw(self, records: Records) -> NDArray[Any]:
        """The stored values of all records."""
        size = np.dtype(self.type).itemsize
        rows = np.ascontiguousarray(records["extra"][:, self.at : self.at + size])
        return rows.view(self.type)[:, 0]


@dataclass(frozen=True)
class ExtraBytes:
    """What a source says about its extra bytes.

    Attributes:
        dimensions: the numbers it describes, as far as they lie within the record.
        described: how many bytes of each record its descriptors cover.
        duplicates: names that stand for more than one dimension.
        tuples: names of pairs and triples, which later versions of LAS do without.
    """

    dimensions: tuple[ExtraDimension, ...]
    described: int
    duplicates: tuple[str, ...]
    tuples: tuple[str, ...] = ()


def read_extra_bytes(source: Source) -> ExtraBytes:
    """The extra dimensions of the source. Descriptors that make no sense end the reading."""
    record = source.find("LASF_Spec", 4)
    if record is None or not source.extra_bytes:
        return ExtraBytes((), 0, ())
    payload = record.payload(source.path)
    found: list[ExtraDimension] = []
    tuples: list[str] = []
    at = 0
    for start in range(0, len(payload) - _DESCRIPTOR + 1, _DESCRIPTOR):
        dimensions, size = _describe(payload[start : start + _DESCRIPTOR], at)
        if not size or at + size > source.extra_bytes:
            break
        found += dimensions
        at += size
        if len(dimensions) > 1:
            tuples.append(dimensions[0].name.removesuffix("[0]"))
    names = [dimension.name for dimension in found]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    apart = tuple(_told_apart(found[:_MOST_DIMENSIONS]))
    return ExtraBytes(apart, at, tuple(duplicates), tuple(tuples))


def for_strict_readers(payload: bytes) -> bytes:
    """The descriptors as current readers want them, who refuse a whole file for one they dislike."""
    return with_distinct_names(without_tuples(with_readable_text(of_known_types(payload))))


def of_known_types(payload: bytes) -> bytes:
    """The descriptors up to the first whose type no version of LAS knows; readers refuse the file.

    Nobody can say where the bytes behind such a one lie: they stay, without a description.
    """
    for start in range(0, len(payload) - _DESCRIPTOR + 1, _DESCRIPTOR):
        if payload[start + 2] > _NEWEST_TYPE:
            return payload[:start]
    return payload


def with_readable_text(payload: bytes) -> bytes:
    """The descriptors with their names and texts in UTF-8; readers refuse a file for other bytes."""
    parts = [payload[at : at + _DESCRIPTOR] for at in range(0, len(payload), _DESCRIPTOR)]
    return b"".join(
        part[:4] + _in_utf8(part[4:36]) + part[36:160] + _in_utf8(part[160:]) for part in parts
    )


def _in_utf8(field: bytes) -> bytes:
    text = field.split(b"\0")[0]
    plain = _as_text(text).encode()
    return field if plain == text else _cut(plain, len(field)).ljust(len(field), b"\0")


def _as_text(raw: bytes) -> str:
    """A text of unknown coding: UTF-8 if it can be, otherwise what older programs in Europe wrote."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _cut(text: bytes, length: int) -> bytes:
    """No more bytes than that, and no part of a character."""
    return text if len(text) <= length else text[:length].decode(errors="ignore").encode()


def without_tuples(payload: bytes) -> bytes:
    """The descriptors with one for each member of a pair or triple; current readers refuse those."""
    parts = [payload[at : at + _DESCRIPTOR] for at in range(0, len(payload), _DESCRIPTOR)]
    return b"".join(member for part in parts for member in _members(part))


def _members(descriptor: bytes) -> list[bytes]:
    """The descriptor, or one for each member, whose values stand where a single one has its own."""
    kind = descriptor[2] if len(descriptor) == _DESCRIPTOR else 0
    if not 10 < kind <= _NEWEST_TYPE:
        return [descriptor]
    name = descriptor[4:36].split(b"\0")[0]
    members = []
    for member in range((kind - 1) // 10 + 1):
        suffix = f"[{member}]".encode()
        # No-data, minimum, maximum, scale and offset have room for three values each.
        values = [descriptor[at + 8 * member :][:8] + bytes(16) for at in range(40, 160, 24)]
        own_name = (_cut(name, 32 - len(suffix)) + suffix).ljust(32, b"\0")
        head = descriptor[:2] + bytes([(kind - 1) % 10 + 1, descriptor[3]]) + own_name
        members.append(head + descriptor[36:40] + b"".join(values) + descriptor[160:])
    return members


def with_distinct_names(payload: bytes) -> bytes:
    """The descriptors with a number behind every name that came before; readers refuse twins."""
    taken: set[bytes] = set()
    parts = []
    for start in range(0, len(payload), _DESCRIPTOR):
        part = payload[start : start + _DESCRIPTOR]
        name = part[4:36].split(b"\0")[0]
        number = 1
        while name in taken:
            number += 1
            suffix = f" ({number})".encode()
            name = _cut(part[4:36].split(b"\0")[0], 32 - len(suffix)) + suffix
        if number > 1:
            part = part[:4] + name.ljust(32, b"\0") + part[36:]
        # A descriptor without a name describes bytes that nobody reads.
        taken |= {name} - {b""}
        parts.append(part)
    return b"".join(parts)


def _describe(descriptor: bytes, at: int) -> tuple[list[ExtraDimension], int]:
    """The dimensions of one descriptor and the bytes it covers; 0 bytes if it makes no sense."""
    kind, options = descriptor[2], descriptor[3]
    name = _as_text(descriptor[4:36].split(b"\0")[0]).strip() or "unnamed"
    if kind == 0:
        return [], options
    if kind > _NEWEST_TYPE:
        return [], 0
    members, index = (kind - 1) // 10 + 1, (kind - 1) % 10
    size = np.dtype(_TYPES[index]).itemsize
    scales = struct.unpack_from("<3d", descriptor, 112)
    offsets = struct.unpack_from("<3d", descriptor, 136)
    dimensions = [
        ExtraDimension(
            name=name if members == 1 else f"{name}[{member}]",
            type=_TYPES[index],
            at=at + member * size,
            scale=scales[member] if options & _SCALE_GIVEN else 1.0,
            offset=offsets[member] if options & _OFFSET_GIVEN else 0.0,
        )
        for member in range(members)
    ]
    return dimensions, members * size


def _told_apart(dimensions: list[ExtraDimension]) -> list[ExtraDimension]:
    """The same dimensions, each with a name of its own."""
    taken: dict[str, int] = {}
    apart = []
    for dimension in dimensions:
        taken[dimension.name] = number = taken.get(dimension.name, 0) + 1
        name = dimension.name if number == 1 else f"{dimension.name} ({number})"
        apart.append(
            ExtraDimension(name, dimension.type, dimension.at, dimension.scale, dimension.offset)
        )
    return apart

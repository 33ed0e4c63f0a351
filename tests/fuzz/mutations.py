"""What can befall a file: every way in which bits, blocks, counts and places can be wrong."""

import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.fixtures.honest import FIELDS

Random = np.random.Generator
Mutation = Callable[[Random, bytes, bytes], bytes]
"""Takes chance, a file, and another file; gives a file that is wrong somewhere."""

_EXTREMES = {
    1: (0, 1, 0x7F, 0x80, 0xFF),
    2: (0, 1, 0x7FFF, 0x8000, 0xFFFF),
    4: (0, 1, 2, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF),
    8: (0, 1, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
}
_DOUBLES = (0.0, -1.0, 1e-300, 1e300, 5e-324, np.nan, np.inf, -np.inf, 1e12)
_FIXED_LASZIP = {0: 2, 2: 1, 4: 2, 12: 4, 32: 2, 34: 2, 36: 2, 38: 2, 40: 2}
"""Byte in the LASzip record, and its length, of what a decoder trusts."""


class Parts(NamedTuple):
    """The bytes of a file's parts; `ends` lists where each begins and the last ends."""

    header: tuple[int, int]
    records: tuple[int, int]
    points: tuple[int, int]
    table: tuple[int, int]
    tail: tuple[int, int]


def parts_of(data: bytes) -> Parts:
    """Where the parts of a sound file lie; those it does not have are empty."""
    header = struct.unpack_from("<H", data, 94)[0]
    points = struct.unpack_from("<I", data, 96)[0]
    length, count = struct.unpack_from("<HI", data, 105)
    tail = len(data)
    if data[25] >= 4:
        place, extended, long_count = struct.unpack_from("<QIQ", data, 235)
        tail, count = place if extended else tail, long_count or count
    table = min(tail, points + count * length)
    if data[104] & 0x80 and len(data) >= points + 8:
        place = struct.unpack_from("<q", data, points)[0]
        table = place if points < place <= tail else tail
    tail = max(tail, table)
    return Parts((0, header), (header, points), (points, table), (table, tail), (tail, len(data)))


def _flip(part: str) -> Mutation:
    def flip(random: Random, data: bytes, _: bytes) -> bytes:
        start, end = getattr(parts_of(data), part)
        changed = bytearray(data)
        for _flip in range(int(random.integers(1, 5))):
            if end > start:
                changed[int(random.integers(start, end))] ^= 1 << int(random.integers(8))
        return bytes(changed)

    return flip


def _cut(random: Random, data: bytes, _: bytes) -> bytes:
    part = parts_of(data)[int(random.integers(5))]
    start, end = part if part[1] > part[0] else (1, len(data))
    return data[: int(random.integers(start, end))]


def _cut_last_bytes(random: Random, data: bytes, _: bytes) -> bytes:
    return data[: -int(random.integers(1, 200))]


def _remove_block(random: Random, data: bytes, _: bytes) -> bytes:
    start, end = _block(random, data)
    return data[:start] + data[end:]


def _repeat_block(random: Random, data: bytes, _: bytes) -> bytes:
    start, end = _block(random, data)
    return data[:end] + data[start:end] + data[end:]


def _swap_blocks(random: Random, data: bytes, _: bytes) -> bytes:
    size = 1 << int(random.integers(2, 12))
    one, other = sorted(int(random.integers(0, max(len(data) - size, 1))) for _ in range(2))
    if one + size > other:
        return data[size:] + data[:size]
    a, b = data[one : one + size], data[other : other + size]
    return data[:one] + b + data[one + size : other] + a + data[other + size :]


def _noise(random: Random, data: bytes, _: bytes) -> bytes:
    start, end = _block(random, data)
    return data[:start] + random.bytes(end - start) + data[end:]


def _zeros(random: Random, data: bytes, _: bytes) -> bytes:
    start, end = _block(random, data)
    return data[:start] + bytes(end - start) + data[end:]


def _block(random: Random, data: bytes) -> tuple[int, int]:
    start = int(random.integers(0, len(data)))
    return start, min(len(data), start + (1 << int(random.integers(0, 12))))


def _header_of_another(_: Random, data: bytes, other: bytes) -> bytes:
    end = parts_of(data).header[1]
    return other[:end] + data[end:]


def _head_of_another(_: Random, data: bytes, other: bytes) -> bytes:
    return other[: parts_of(other).records[1]] + data[parts_of(data).records[1] :]


def _points_of_another(_: Random, data: bytes, other: bytes) -> bytes:
    return data[: parts_of(data).points[0]] + other[parts_of(other).points[0] :]


def _tail_of_another(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: int(random.integers(1, len(data)))] + other[int(random.integers(len(other))) :]


def _extreme_header(random: Random, data: bytes, _: bytes) -> bytes:
    name = random.choice(sorted({*FIELDS} - {"signature"}))
    offset, kind = FIELDS[str(name)]
    if kind == "d":
        value = struct.pack("<d", random.choice(_DOUBLES))
        return data[:offset] + value + data[offset + 8 :]
    size = struct.calcsize(f"<{kind[-1]}")
    return _put_extreme(random, data, offset, size)


def _extreme_record(random: Random, data: bytes, _: bytes) -> bytes:
    """A length or number in the first record, or what the LASzip record says."""
    laszip = data.find(b"laszip encoded")
    if laszip > 0 and random.random() < 0.7:
        at = int(random.choice(list(_FIXED_LASZIP)))
        return _put_extreme(random, data, laszip + 52 + at, _FIXED_LASZIP[at])
    start = parts_of(data).records[0]
    return _put_extreme(random, data, start + int(random.choice([18, 20])), 2)


def _extreme_table(random: Random, data: bytes, _: bytes) -> bytes:
    """The table's place, its version or its number of chunks."""
    parts = parts_of(data)
    if random.random() < 0.3:
        return _put_extreme(random, data, parts.points[0], 8)
    return _put_extreme(random, data, parts.table[0] + int(random.choice([0, 4])), 4)


def _extreme_chunk(random: Random, data: bytes, _: bytes) -> bytes:
    """A number in the head of the first chunk: its points, or the bytes of a layer."""
    length = struct.unpack_from("<H", data, 105)[0]
    at = parts_of(data).points[0] + 8 + length + 4 * int(random.integers(0, 14))
    return _put_extreme(random, data, at, 4)


def _extreme_tail(random: Random, data: bytes, _: bytes) -> bytes:
    """The length of the first extended record, or where and how many they are."""
    start, end = parts_of(data).tail
    if end - start >= 60 and random.random() < 0.5:
        return _put_extreme(random, data, start + 20, 8)
    return _put_extreme(random, data, *((235, 8) if random.random() < 0.5 else (243, 4)))


def _put_extreme(random: Random, data: bytes, at: int, size: int) -> bytes:
    """An extreme value, or one that is off by a little."""
    if at + size > len(data):
        return data[:at]
    value = int.from_bytes(data[at : at + size], "little")
    if random.random() < 0.3:
        value += int(random.integers(-3, 4))
    else:
        value = _EXTREMES[size][int(random.integers(len(_EXTREMES[size])))]
    changed = (value % (1 << 8 * size)).to_bytes(size, "little")
    return data[:at] + changed + data[at + size :]


MUTATIONS: dict[str, Mutation] = {
    "flip header": _flip("header"),
    "flip records": _flip("records"),
    "flip points": _flip("points"),
    "flip table": _flip("table"),
    "flip tail": _flip("tail"),
    "cut": _cut,
    "cut last bytes": _cut_last_bytes,
    "remove block": _remove_block,
    "repeat block": _repeat_block,
    "swap blocks": _swap_blocks,
    "noise": _noise,
    "zeros": _zeros,
    "other's header": _header_of_another,
    "other's head": _head_of_another,
    "other's points": _points_of_another,
    "other's tail": _tail_of_another,
    "extreme header": _extreme_header,
    "extreme record": _extreme_record,
    "extreme table": _extreme_table,
    "extreme chunk": _extreme_chunk,
    "extreme tail": _extreme_tail,
}

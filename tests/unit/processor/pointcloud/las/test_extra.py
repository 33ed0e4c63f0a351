"""How the extra bytes of a source are described in the product."""

import struct

from services.processor.pointcloud.las.extra import (
    of_known_types,
    with_distinct_names,
    with_readable_text,
    without_tuples,
)

PAIR_OF_BYTES, BYTE, TRIPLE_OF_FLOATS, FLOAT = 11, 1, 29, 9


def descriptor(name: bytes, kind: int, *scales: float) -> bytes:
    """A descriptor with scales."""
    stated = struct.pack("<3d", *(*scales, 0.0, 0.0, 0.0)[:3])
    head = struct.pack("<2xBB32s4x72x", kind, 8, name)
    return (head + stated).ljust(160, b"\0") + b"about it".ljust(32, b"\0")


def test_each_member_of_a_pair_or_triple_gets_a_descriptor_of_its_own() -> None:
    plain = descriptor(b"height", FLOAT, 0.5)
    old = plain + descriptor(b"colour", PAIR_OF_BYTES, 2.0, 3.0)
    assert without_tuples(old + descriptor(b"normal", TRIPLE_OF_FLOATS, 4.0, 5.0, 6.0)) == b"".join(
        [
            plain,
            descriptor(b"colour[0]", BYTE, 2.0),
            descriptor(b"colour[1]", BYTE, 3.0),
            descriptor(b"normal[0]", FLOAT, 4.0),
            descriptor(b"normal[1]", FLOAT, 5.0),
            descriptor(b"normal[2]", FLOAT, 6.0),
        ]
    )


def test_long_names_of_members_stay_apart() -> None:
    new = without_tuples(descriptor(b"n" * 32, PAIR_OF_BYTES))
    assert new[4:36] == b"n" * 29 + b"[0]"
    assert new[196:228] == b"n" * 29 + b"[1]"
    assert with_distinct_names(new) == new


def test_names_become_utf8_and_those_that_are_stay_as_they_are() -> None:
    good = descriptor("Höhe".encode(), FLOAT, 0.5)
    assert with_readable_text(good) == good
    assert with_readable_text(descriptor("Höhe".encode("latin-1"), FLOAT, 0.5)) == good
    # Each of these takes two bytes in UTF-8; what is cut is cut between characters.
    long = with_readable_text(descriptor(b"x" + b"\xf6" * 31, FLOAT))
    assert long[4:36].rstrip(b"\0").decode() == "x" + "ö" * 15


def test_what_makes_names_distinct_cuts_no_character() -> None:
    twins = 2 * descriptor(("x" + "ö" * 15).encode(), FLOAT)
    assert with_distinct_names(twins)[196:228].rstrip(b"\0").decode() == "x" + "ö" * 13 + " (2)"
    pair = without_tuples(descriptor(("x" + "ö" * 15).encode(), PAIR_OF_BYTES))
    assert pair[4:36].rstrip(b"\0").decode() == "x" + "ö" * 14 + "[0]"


def test_what_follows_an_unknown_type_is_described_no_more() -> None:
    known = descriptor(b"height", FLOAT, 0.5) + descriptor(b"pair", PAIR_OF_BYTES)
    assert of_known_types(known) == known
    assert of_known_types(known + descriptor(b"odd", 108) + descriptor(b"tree", BYTE)) == known

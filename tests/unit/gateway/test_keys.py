"""A key's text says what it is, and a slip of the finger shows without a query."""

import pytest

from services.gateway.keys import Keys, checksum, hash_of, key_of, new_key, read_key
from services.gateway.roles import Role


def test_a_new_key_is_read_back_and_hashed() -> None:
    identifier, text, digest = new_key()
    read = read_key(text)
    assert read is not None
    assert read[0] == identifier
    assert hash_of(read[1]) == digest
    assert new_key()[1] != text


def test_a_key_of_before_has_no_checksum_and_is_read() -> None:
    assert read_key(f"pm_0123abcd_{'a' * 48}") == ("0123abcd", "a" * 48)


def test_the_checksum_is_crc_32_as_everybody_reckons_it() -> None:
    assert checksum("123456789") == "cbf43926"  # the check value of CRC-32/ISO-HDLC


@pytest.mark.parametrize("place", [3, 10, 20, 59, 61, 68])
async def test_a_mistyped_key_is_refused_without_a_query(place: int) -> None:
    _, text, _ = key_of("0123abcd")
    wrong = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
    assert read_key(wrong) is None
    no_database: Keys = Keys(None)  # type: ignore[arg-type] # asking it would fail
    assert await no_database.find(wrong) is None


def test_each_role_may_do_what_those_before_it_may() -> None:
    allowed = [[role.allows(needed) for needed in Role] for role in Role]
    assert allowed == [[True, False, False], [True, True, False], [True, True, True]]

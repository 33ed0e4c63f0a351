"""Which addresses are of the public internet."""

import socket

import pytest

from services.notifier.channels.egress import is_public, open_public_socket


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",  # noqa: S104
        "169.254.169.254", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::",
        "2001::1", "2001:db8::1", "fc00::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_an_inner_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101",
     "2002:101:101::"],
)  # fmt: skip
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


def test_a_socket_is_made_for_a_public_address_only() -> None:
    stream = socket.SOCK_STREAM
    with open_public_socket((socket.AF_INET, stream, 6, "", ("1.1.1.1", 443))) as opened:
        assert opened.family == socket.AF_INET
    with pytest.raises(PermissionError, match="public internet"):
        open_public_socket((socket.AF_INET, stream, 6, "", ("10.0.0.1", 443)))
    with pytest.raises(PermissionError):
        open_public_socket((socket.AF_UNIX, stream, 0, "", ("/run/socket",)))

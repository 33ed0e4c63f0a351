"""Where webhooks may go: to the public internet, by the address that is really connected to.

A check of the URL or of the name would not do: a name can resolve to anything, differently each
time, and there are too many ways to spell an address. So the socket itself is refused.
"""

import errno
import ipaddress
import socket
from typing import Any

import aiohttp

from shared.process import service_version

TOTAL_SECONDS = 10
CONNECT_SECONDS = 5

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

# RFC 6052: an IPv4 address inside an IPv6 one, for gateways between the two.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# RFC 4291: all of the public IPv6 internet.
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def open_session(*, allow_private: bool) -> aiohttp.ClientSession:
    """A session for webhooks: no proxies, no cookies, no decompression, ten seconds in all."""
    connector = aiohttp.TCPConnector(
        socket_factory=None if allow_private else open_public_socket,
        limit=0,  # the sender bounds what goes on at the same time
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=TOTAL_SECONDS, connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": f"pointmill/{service_version()}",
            "Accept-Encoding": "identity",
        },
        auto_decompress=False,
        trust_env=False,
    )


def open_public_socket(info: AddressInfo) -> socket.socket:
    """A socket for the address that is about to be connected to.

    Raises:
        PermissionError: the address is not on the public internet.
    """
    family, kind, protocol, _, address = info
    if family not in {socket.AF_INET, socket.AF_INET6} or not is_public(str(address[0])):
        raise PermissionError(errno.EACCES, "the address is not on the public internet")
    return socket.socket(family, kind, protocol)


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, whatever it is wrapped in."""
    address = _unwrapped(ipaddress.ip_address(text))
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 address only carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address

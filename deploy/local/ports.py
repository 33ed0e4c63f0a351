"""Free TCP ports on the loopback address, the same ones again where possible."""

import random
import socket

# Below the range from which the kernel takes the ports of outgoing connections (32768 and up):
# a port of that range can be free now and taken when the server that wants it has started.
LOWEST = 20000
HIGHEST = 31999


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of a server that has just stopped linger for a minute; they do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections on `port` of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def choose(taken: set[int], seed: str) -> int:
    """A free port that is not in `taken`; the same seed finds the same port again if it is free."""
    # Not a secret: two checkouts should rarely try the same ports, that is all.
    candidates = random.Random(seed)  # noqa: S311
    for _ in range(2000):
        port = candidates.randint(LOWEST, HIGHEST)
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {LOWEST} and {HIGHEST} on 127.0.0.1")

"""Landlock: the kernel lets a process see only the files it has named before, for good.

Spoken to by its three system calls, whose numbers are the same on every architecture.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION = 1
PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE = 1 << 13, 1 << 14
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
# How many of the rights, from the lowest, each version knows.
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
TCP_BIND_AND_CONNECT = 3  # from version 4
ABSTRACT_SOCKETS_AND_SIGNALS = 3  # from version 6

LIST = READ_DIR
READ = READ_FILE | READ_DIR
RUN = READ_FILE | EXECUTE
USE = READ_FILE | WRITE_FILE | TRUNCATE
WORK = READ | USE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER

Rule = tuple[Path, int]


def version() -> int:
    """The version that this kernel offers; 0 for none."""
    return max(_call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(ASK_VERSION)), 0)


def restrict(rules: Iterable[Rule], offered: int) -> None:
    """Let this process and its descendants touch what the rules name and nothing else.

    Also no TCP from version 4 on, and no signal to processes outside from version 6 on.
    NO_NEW_PRIVS must be set. Paths that do not exist are left out.

    Raises:
        OSError: the kernel refuses.
    """
    handled = (1 << RIGHTS[min(offered, max(RIGHTS))]) - 1
    attributes = struct.pack("Q", handled)
    if offered >= 4:
        attributes += struct.pack("Q", TCP_BIND_AND_CONNECT)
    if offered >= 6:
        attributes += struct.pack("Q", ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = _checked(
        CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)
    )
    try:
        for path, rights in rules:
            with suppress(FileNotFoundError):
                _add(ruleset, path, rights & handled)
        _checked(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _add(ruleset: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = rights if path.is_dir() else rights & OF_A_FILE
        rule = struct.pack("=Qi", allowed, place)
        _checked(
            ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(PATH_BENEATH),
            rule,
            ctypes.c_uint32(0),
        )
    finally:
        os.close(place)


def _checked(number: int, *arguments: object) -> int:
    result = _call(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _call(number: int, *arguments: object) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return int(call(ctypes.c_long(number), *arguments))

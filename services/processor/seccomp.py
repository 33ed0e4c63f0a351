"""The system calls that an attempt may not make: a small BPF program, given to the kernel for good.

What is not named here stays allowed, except calls newer than this list, which "do not exist". Reading
and writing of files is Landlock's business; this closes what Landlock does not see: sockets, other
processes, ownership and modes of files, kernel interfaces, memory that outlives the process.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
SECCOMP_FILTER_FLAG_TSYNC = 1
KILL = 0x8000_0000
ERRNO = 0x0005_0000
ALLOW = 0x7FFF_0000

# Classic BPF: load a word, jump if equal / greater / greater or equal / any bit set, return.
LOAD, EQUAL, GREATER, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x25, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST, SECOND = 0, 4, 16, 24  # offsets in seccomp_data; low words

NEWEST = 462  # mseal; the numbers from 424 on are the same on every architecture
NEW_NAMESPACES = 0x7E02_0000  # every CLONE_NEW* flag that clone takes
AF_UNIX = 1
NOT_A_STREAM = 0xE  # a datagram could be sent to anybody's named socket

# architecture: audit number, and its place in the pairs below
ARCHITECTURES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}

# (x86_64, aarch64); None: the architecture has no such call
_SAME = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_open": 434, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
    "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448, "fchmodat2": 452,
}  # fmt: skip
DENIED: dict[str, tuple[int | None, int | None]] = {
    # the network: no socket but the pair that joins two of our own processes
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # out of the process group, by which the attempt is watched and killed
    "setsid": (112, 157), "setpgid": (109, 154),
    # programs that are in no file
    "execveat": (322, 281), "memfd_create": (319, 279),
    # memory that outlives the process
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    # what Landlock does not see of files
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88), "truncate": (76, 45),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # the machine
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161),
    "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "syslog": (103, 116), "acct": (163, 89),
    "quotactl": (179, 60), "personality": (135, 92), "fanotify_init": (300, 262),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    **{name: (number, number) for name, number in _SAME.items()},
}  # fmt: skip
CLONE3 = 435
CLONE, SOCKETPAIR, KILL_CALL, TGKILL, PRLIMIT = (
    (56, 220),
    (53, 199),
    (62, 129),
    (234, 131),
    (302, 261),
)
SECCOMP_CALL = (317, 277)


def available() -> bool:
    """Whether this kernel takes a filter for this architecture."""
    if platform.machine() not in ARCHITECTURES:
        return False
    action = ctypes.c_uint32(ERRNO)
    return _seccomp(SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0


def restrict(parent: int) -> None:
    """Deny this process and its descendants what is listed, for good.

    NO_NEW_PRIVS must be set. `parent` is the process that they must not signal.

    Raises:
        OSError: the kernel does not take the program.
    """
    code = b"".join(program(platform.machine(), parent))
    instructions = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions and their address, naturally aligned
    head = ctypes.create_string_buffer(
        struct.pack("HP", len(code) // 8, ctypes.addressof(instructions))
    )
    if _seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, head) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def program(machine: str, parent: int) -> Iterator[bytes]:
    """The instructions for an architecture. Every block leaves the call's number loaded behind it."""
    audit, place = ARCHITECTURES[machine]
    yield from _load(ARCHITECTURE)
    yield from (_step(EQUAL, audit, 1, 0), _step(RETURN, KILL))
    yield from _load(NUMBER)
    # Also the x32 calls of x86_64, whose numbers have a high bit.
    yield from (_step(GREATER, NEWEST, 0, 1), _step(RETURN, ERRNO | errno.ENOSYS))
    # Its flags are in memory that no filter sees. Libraries fall back to clone if it "does not exist".
    yield from (_step(EQUAL, CLONE3, 0, 1), _step(RETURN, ERRNO | errno.ENOSYS))
    for pair in DENIED.values():
        if (number := pair[place]) is not None:
            yield from (_step(EQUAL, number, 0, 1), _step(RETURN, ERRNO | errno.EPERM))
    yield from _judge(CLONE[place], [(FIRST, ANY_BIT, NEW_NAMESPACES, True)])
    yield from _judge(PRLIMIT[place], [(FIRST, EQUAL, 0, False)])  # 0: itself
    pair_rules = [(FIRST, EQUAL, AF_UNIX, False), (SECOND, ANY_BIT, NOT_A_STREAM, True)]
    yield from _judge(SOCKETPAIR[place], pair_rules)
    for number in (KILL_CALL[place], TGKILL[place]):
        # Negative: whole groups, and with -1 everybody.
        rules = [(FIRST, AT_LEAST, 1 << 31, True), (FIRST, EQUAL, parent, True)]
        yield from _judge(number, rules)
    yield _step(RETURN, ALLOW)


def _judge(number: int, rules: list[tuple[int, int, int, bool]]) -> Iterator[bytes]:
    """For one call: deny it if one of (argument, comparison, value) has the given truth; else allow."""
    body = []
    for offset, comparison, value, wrong in rules:
        body += _load(offset)
        body.append(_step(comparison, value, *((0, 1) if wrong else (1, 0))))
        body.append(_step(RETURN, ERRNO | errno.EPERM))
    body.append(_step(RETURN, ALLOW))
    yield _step(EQUAL, number, 0, len(body))
    yield from body


def _load(offset: int) -> list[bytes]:
    return [_step(LOAD, offset)]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; jumps count the instructions to leave out."""
    return struct.pack("HBBI", code, if_true, if_false, value)


def _seccomp(operation: int, flags: int, argument: object) -> int:
    number = SECCOMP_CALL[ARCHITECTURES[platform.machine()][1]]
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return int(
        call(
            ctypes.c_long(number),
            ctypes.c_ulong(operation),
            ctypes.c_ulong(flags),
            argument,
        )
    )

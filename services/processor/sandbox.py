"""What the process tree of an attempt may touch: nothing but its own folders and what it runs from.

Three walls, each for good and inherited by every process that the attempt starts: the limits of
child.py (always), Landlock for files, seccomp for system calls. A kernel may lack the last two; how
far we came is a level, which is logged, measured, and can be required.
"""

import ctypes
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from services.processor import landlock, seccomp
from services.processor.landlock import LIST, READ, RUN, USE, WORK, Rule
from shared.errors import PointmillError

PR_SET_NO_NEW_PRIVS = 38
PROJECT = Path(__file__).parents[2]

Level = Literal["none", "rlimits", "landlock", "landlock+seccomp"]
LEVELS: tuple[Level, ...] = get_args(Level)

SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
SYSTEM_DATA = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/usr/share/proj",
    "/dev/urandom",
    # How many processors there are and what they can: numpy and the allocators ask.
    "/sys/devices/system/cpu",
    "/proc/cpuinfo",
    "/proc/meminfo",
)
LOADERS = ("lib64/ld-linux-*.so.*", "lib/ld-linux-*.so.*", "lib/ld-musl-*.so.*")


class SandboxTooWeak(PointmillError):
    """The kernel of this machine does not offer the walls that are required."""

    code = "sandbox_too_weak"
    title = "The worker's machine cannot fence the work in"
    remedy = "Run it on a kernel with Landlock and seccomp, or lower PROCESSOR_SANDBOX_REQUIRED knowingly."
    retryable = True


@dataclass(frozen=True)
class Kernel:
    """What the kernel offers: the version of Landlock (0 for none), and seccomp."""

    landlock: int
    seccomp: bool

    @property
    def level(self) -> Level:
        """The level that can be reached."""
        if not self.landlock:
            return "rlimits" if sys.platform == "linux" else "none"
        return "landlock+seccomp" if self.seccomp else "landlock"

    @property
    def lacks(self) -> str:
        """What is missing, for people; empty when nothing is."""
        lacks = [] if self.landlock else ["Landlock"]
        return " and ".join(lacks if self.seccomp else [*lacks, "seccomp"])


def probe() -> Kernel:
    """Ask the kernel; nothing changes for this process."""
    if sys.platform != "linux":
        return Kernel(0, seccomp=False)
    return Kernel(landlock.version(), seccomp.available())


def require(required: Level, kernel: Kernel) -> None:
    """Hold what the kernel offers against what is required.

    Raises:
        SandboxTooWeak: it is less.
    """
    if LEVELS.index(kernel.level) < LEVELS.index(required):
        raise SandboxTooWeak(
            f"The sandbox must reach the level {required}, and this machine offers only "
            f"{kernel.level}: there is no {kernel.lacks}."
        )


def enter(kernel: Kernel, *, reads: Iterable[Path], own: tuple[Path, ...], parent: int) -> Level:
    """Shut this process in: it reads the files `reads`, works in the folders `own`, never touches `parent`.

    Where there is no Landlock, seccomp is still used, although the level does not tell.

    Returns:
        The level that is reached.

    Raises:
        OSError: the kernel refuses what it offers.
    """
    if not kernel.landlock and not kernel.seccomp:
        return kernel.level
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(value) for value in (1, 0, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), "The kernel refuses NO_NEW_PRIVS")
    if kernel.landlock:
        rules = [
            *_runs_from(),
            *((path, READ) for path in reads),
            *((folder, WORK) for folder in own),
        ]
        landlock.restrict(rules, kernel.landlock)
    if kernel.seccomp:
        seccomp.restrict(parent)
    return kernel.level


def prepare() -> None:
    """Work out now what is the same for every attempt; what is forked from here need not."""
    _runs_from()


@cache
def _runs_from() -> tuple[Rule, ...]:
    return tuple(_list_what_it_runs_from())


def _list_what_it_runs_from() -> Iterator[Rule]:
    """The interpreter, the libraries and our own code; to run, only the interpreter itself.

    The probers of damaged files are fresh interpreters: so they and their loader may be executed,
    and nothing else may.
    """
    interpreter = Path(sys.executable).resolve()
    yield interpreter, RUN
    for pattern in LOADERS:
        for loader in Path("/").glob(pattern):
            yield loader, RUN
    yield Path(sys.prefix, "pyvenv.cfg"), READ
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        str(Path(sys.base_prefix, "lib")),
        *SYSTEM_LIBRARIES,
        *SYSTEM_DATA,
    }:
        yield Path(folder), READ
    yield Path("/dev/null"), USE
    yield Path("/proc/self"), READ
    # A fresh interpreter looks for `services` and `shared` by listing where they lie.
    yield PROJECT, LIST
    yield PROJECT / "services" / "__init__.py", READ
    yield PROJECT / "services" / "processor", READ
    yield PROJECT / "shared", READ

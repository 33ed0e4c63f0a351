"""What the process of an attempt cannot do, tried by real processes on this machine's kernel.

Every attack is made twice: outside, where it must work, or it would prove nothing; and inside.
"""

import errno
import json
import operator
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import laspy
import numpy as np
import pytest
from pydantic import SecretStr

from services.processor import app, child, sandbox, seccomp
from services.processor.forks import Forks
from services.processor.runner import LogTail, Order, run_child
from services.processor.sandbox import Kernel, SandboxTooWeak
from services.processor.settings import Settings
from services.processor.watch import Bounds

PROJECT = Path(__file__).parents[3]
KERNEL = sandbox.probe()

ENTER = """
import ctypes, os, socket, subprocess, sys
from pathlib import Path
from services.processor import sandbox
folder, inside, port = Path(sys.argv[1]), sys.argv[2] == 'inside', int(sys.argv[3])
own = folder / 'scratch'
if inside:
    kernel = sandbox.Kernel(int(sys.argv[4]), seccomp=sys.argv[5] == 'True')
    level = sandbox.enter(kernel, reads=[folder / 'source'], own=(own,), parent=os.getppid())
    print('level', level)
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    if (result := libc.syscall(ctypes.c_long(number), *arguments)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
try:
    exec(sys.stdin.read())
    print('done')
except OSError as error:
    print('denied', error.errno)
"""

ATTACKS = {
    "connect to this machine": "socket.create_connection(('127.0.0.1', port), 5)",
    "send a datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))",
    "open a local socket": "socket.socket(socket.AF_UNIX)",
    "open a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "make a pair for datagrams": "socket.socketpair(type=socket.SOCK_DGRAM)",
    "read the accounts": "open('/etc/passwd').read()",
    "read a file of the project": f"open({str(PROJECT / 'pyproject.toml')!r}).read()",
    "read another service": f"open({str(PROJECT / 'services/gateway/app.py')!r}).read()",
    "read the parent's secrets": "open(f'/proc/{os.getppid()}/environ').read()",
    "read a neighbour": "(folder / 'neighbour').read_text()",
    "read through a link": "(folder / 'scratch/link').read_text()",
    "list a neighbour's folder": "os.listdir(folder)",
    "write beside its folder": "(folder / 'new').write_text('x')",
    "write to its source": "(folder / 'source').write_text('x')",
    "write to its own program": "open(sandbox.__file__, 'a').close()",
    "take a neighbour's file": "os.rename(folder / 'neighbour', own / 'mine')",
    "delete a neighbour's file": "(folder / 'neighbour').unlink()",
    "cut a neighbour's file": "os.truncate(folder / 'neighbour', 0)",
    "lock a neighbour out": "os.chmod(folder / 'neighbour', 0)",
    "age a neighbour's file": "os.utime(folder / 'neighbour', (0, 0))",
    "run a shell": "subprocess.run(['/bin/sh', '-c', 'true'], check=True)",
    "run a program it wrote": "subprocess.run([own / 'program'], check=True)",
    "run a program in memory": "os.memfd_create('x')",
    "signal the parent": "os.kill(os.getppid(), 0)",
    "signal everybody": "os.kill(-1, 0)",
    "limit the parent": ("import resource; resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)"),
    "leave its group": "os.setsid()",
    "enter a namespace": "call({'x86_64': 272, 'aarch64': 97}[os.uname().machine], 0)",
    "make memory that stays": (
        "i = {'x86_64': (29, 31), 'aarch64': (194, 195)}[os.uname().machine]\n"
        "call(i[1], call(i[0], 0, 4096, 0o600), 0, 0)"
    ),
    "watch a process": "call({'x86_64': 101, 'aarch64': 117}[os.uname().machine], 0, 0, 0, 0)",
    "use the kernel's keys": "call({'x86_64': 250, 'aarch64': 219}[os.uname().machine], 0, -3, 0)",
    "hand work to the kernel": "p = ctypes.create_string_buffer(120); call(425, 1, p)",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An attempt's folder, with a source, and a neighbour's file beside it."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "source").write_text("the source")
    (tmp_path / "neighbour").write_text("a neighbour's secret")
    (tmp_path / "scratch/link").symlink_to(tmp_path / "neighbour")
    program = tmp_path / "scratch/program"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    return tmp_path


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def attempt(
    folder: Path, work: str, *, inside: bool = True, port: int = 9, kernel: Kernel = KERNEL
) -> list[str]:
    """Run the work in a process, inside the sandbox or outside; the lines that it prints."""
    where = "inside" if inside else "outside"
    walls = [str(kernel.landlock), str(kernel.seccomp)]
    ended = subprocess.run(
        [sys.executable, "-c", ENTER, folder, where, str(port), *walls],
        cwd=folder / "scratch",
        env={"PYTHONPATH": str(PROJECT), "TMPDIR": str(folder / "scratch")},
        input=work,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.fixture
def walls() -> None:
    """The whole sandbox, or a skip that says what is missing."""
    if KERNEL.lacks:
        pytest.skip(f"this kernel has no {KERNEL.lacks}")


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_works_outside_is_denied_inside(
    folder: Path, port: int, walls: None, name: str
) -> None:
    inside = attempt(folder, ATTACKS[name], port=port)
    assert inside[0] == "level landlock+seccomp"
    assert inside[-1] in {f"denied {errno.EPERM}", f"denied {errno.EACCES}"}
    outside = attempt(folder, ATTACKS[name], inside=False, port=port)
    # The kernel's keys and io_uring may be switched off on a machine as a whole.
    assert outside[-1] in {"done", f"denied {errno.ENOSYS}"}


def test_the_level_of_this_machine_is_told(
    folder: Path, summarize: Callable[[str, str], None]
) -> None:
    lacks = KERNEL.lacks or "nothing"
    summarize("sandbox", f"{KERNEL.level}; Landlock version {KERNEL.landlock}; lacks {lacks}")
    said = attempt(folder, "print((folder / 'source').read_text())")
    assert said == [f"level {KERNEL.level}", "the source", "done"]


def test_inside_it_can_do_its_work(folder: Path, walls: None) -> None:
    work = """
import signal, tempfile, threading, time
(own / 'a').mkdir(); (own / 'a/b').write_text('x'); os.rename(own / 'a/b', own / 'c')
with (own / 'c').open('r+b') as file: file.truncate(0)
(own / 'c').unlink(); (own / 'a').rmdir()
with tempfile.TemporaryFile() as file: file.write(bytes(1 << 20))
t = threading.Thread(target=print, args=('a thread',)); t.start(); t.join()
ours, theirs = socket.socketpair()
p = subprocess.Popen([sys.executable, '-c', 'import os; os.write(1, b"a process")'], stdout=theirs)
p.wait(20); print(ours.recv(99).decode())
p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); p.kill()
print('killed', p.wait(20)); print(time.localtime().tm_year > 2000, os.cpu_count() > 0)
"""
    said = attempt(folder, work)
    assert said[1:] == ["a thread", "a process", "killed -9", "True True", "done"]


def test_what_it_starts_is_shut_in_as_well(folder: Path, walls: None) -> None:
    work = "subprocess.run([sys.executable, '-c', 'open(\"/etc/passwd\")'], check=True)"
    with pytest.raises(AssertionError, match=r"Permission denied: '/etc/passwd'"):
        attempt(folder, work)
    assert attempt(folder, work, inside=False)[-1] == "done"


def test_a_call_that_no_filter_can_judge_does_not_exist(folder: Path, walls: None) -> None:
    assert attempt(folder, "call(435, 0, 0)")[-1] == f"denied {errno.ENOSYS}"
    assert attempt(folder, "call(463, 0, 0)")[-1] == f"denied {errno.ENOSYS}"


def test_too_much_memory_is_refused_inside(folder: Path, walls: None) -> None:
    work = """
from services.processor.child import set_limits
from services.processor.task import Limits
set_limits(Limits(memory_bytes=1 << 30))
try: bytearray(2 << 30)
except MemoryError: print('refused')
"""
    assert attempt(folder, work)[-2:] == ["refused", "done"]


def test_every_library_that_reads_clouds_works_inside(folder: Path, walls: None) -> None:
    work = """
import io, laspy, lazrs, laszip, numpy, pyproj
from PIL import Image
header = laspy.LasHeader(point_format=7, version='1.4')
cloud = laspy.LasData(header)
cloud.X = numpy.arange(100_000, dtype=numpy.int32); cloud.Y = cloud.Z = cloud.X
for backend in laspy.LazBackend.detect_available():
    cloud.write(str(own / 'a.laz'), laz_backend=backend)
    read = laspy.read(str(own / 'a.laz'), laz_backend=backend)
    assert (read.X == cloud.X).all(); print(backend.name)
ask = pyproj.Transformer.from_crs('EPSG:4326', 'EPSG:25832', always_xy=True)
print([round(x) for x in ask.transform(9, 50)])
Image.new('RGB', (9, 9)).save(own / 'a.png'); print(Image.open(own / 'a.png').size)
"""
    said = attempt(folder, work)
    assert set(said[1:-3]) == {"Lazrs", "LazrsParallel", "Laszip"}
    assert said[-3:] == ["[500000, 5538631]", "(9, 9)", "done"]


async def test_a_crew_mills_a_million_points_inside(
    forks: Forks, folder: Path, walls: None
) -> None:
    random, points = np.random.default_rng(1), 1_050_000
    cloud = laspy.LasData(laspy.LasHeader(point_format=6, version="1.4"))
    cloud.X, cloud.Y, cloud.Z = random.integers(0, 99_999, (3, points), dtype=np.int32)
    cloud.return_number = cloud.number_of_returns = np.ones(points, np.uint8)
    cloud.write(folder / "source.laz")
    (folder / "out").mkdir()
    order = Order(
        "pointcloud.ingest",
        {"crs": "EPSG:25832"},
        folder / "source.laz",
        "a.laz",
        folder / "out",
        folder / "scratch",
        1 << 30,
        2,
        sandbox="landlock+seccomp",
    )
    log = LogTail()
    answer = await run_child(forks, order, Bounds(), on_progress=lambda _: None, log=log)
    assert answer.result["points"] == points, log.text()
    certificate = json.loads((folder / "out/certificate.json").read_text())
    assert certificate["effort"]["processes"] == 2


@pytest.mark.parametrize("version", range(1, KERNEL.landlock + 1))
def test_an_older_landlock_still_hides_the_files(folder: Path, walls: None, version: int) -> None:
    kernel = Kernel(version, seccomp=True)
    assert "denied 13" in attempt(folder, "open('/etc/passwd')", kernel=kernel)
    assert "denied 1" in attempt(folder, "os.kill(os.getppid(), 0)", kernel=kernel)
    assert "done" in attempt(folder, "(own / 'x').write_text('x')", kernel=kernel)


@pytest.mark.parametrize(
    ("kernel", "level", "lacks", "files", "network"),
    [
        (Kernel(KERNEL.landlock, seccomp=False), "landlock", "seccomp", "denied 13", "denied 13"),
        (Kernel(0, seccomp=True), "rlimits", "Landlock", "done", "denied 1"),
        (Kernel(0, seccomp=False), "rlimits", "Landlock and seccomp", "done", "done"),
    ],
)
def test_a_kernel_that_lacks_something_gives_the_next_level_and_says_so(
    folder: Path,
    port: int,
    walls: None,
    kernel: Kernel,
    level: str,
    lacks: str,
    files: str,
    network: str,
) -> None:
    assert (kernel.level, kernel.lacks) == (level, lacks)
    connect = ATTACKS["connect to this machine"]
    assert attempt(folder, "open('/etc/passwd')", kernel=kernel) == [f"level {level}", files]
    assert attempt(folder, connect, port=port, kernel=kernel)[-1] == network


@pytest.mark.parametrize(
    ("required", "kernel", "missing"),
    [
        ("landlock+seccomp", Kernel(7, seccomp=False), "there is no seccomp"),
        ("landlock", Kernel(0, seccomp=True), "there is no Landlock"),
    ],
)
async def test_the_processor_does_not_start_below_the_required_level(
    monkeypatch: pytest.MonkeyPatch, required: sandbox.Level, kernel: Kernel, missing: str
) -> None:
    settings = Settings(
        database_url=SecretStr("unused"),
        amqp_url=SecretStr("unused"),
        storage_url="unused",
        sandbox_required=required,
    )
    monkeypatch.setattr(sandbox, "probe", lambda: kernel)
    with pytest.raises(OSError, match=f"reach the level .*{missing}.*PROCESSOR_SANDBOX_REQUIRED"):
        await app.serve(settings)


@pytest.mark.parametrize("required", ["none", "rlimits"])
def test_what_is_enough_starts(required: sandbox.Level) -> None:
    app.check_sandbox(required, Kernel(0, seccomp=False))


def test_an_attempt_does_not_begin_below_the_required_level(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox, "probe", lambda: Kernel(0, seccomp=False))
    with pytest.raises(SandboxTooWeak) as caught:
        child._shut_in({"sandbox": "landlock"})
    assert caught.value.retryable


def judged(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter for an architecture answers to a call: 0 for allowed, else the error number."""
    own_audit, _ = seccomp.ARCHITECTURES[machine]
    words = struct.pack(
        "IIQ6Q", number, audit or own_audit, 0, *arguments, *[0] * (6 - len(arguments))
    )
    steps = [struct.unpack("HBBI", step) for step in seccomp.program(machine, parent=4321)]
    compare: dict[int, Callable[[int, int], bool]] = {
        seccomp.EQUAL: operator.eq,
        seccomp.GREATER: operator.gt,
        seccomp.AT_LEAST: operator.ge,
        seccomp.ANY_BIT: lambda word, value: bool(word & value),
    }
    at = word = 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == seccomp.RETURN:
            return {seccomp.ALLOW: 0, seccomp.KILL: -1}.get(value, int(value) & 0xFFFF)
        if code == seccomp.LOAD:
            (word,) = struct.unpack_from("I", words, value)
        else:
            at += if_true if compare[code](word, value) else if_false


@pytest.mark.parametrize("place", [0, 1])
def test_the_filter_judges_alike_on_every_architecture(place: int) -> None:
    machine = {audit_place: name for name, (_, audit_place) in seccomp.ARCHITECTURES.items()}[place]
    for pair in seccomp.DENIED.values():
        if (number := pair[place]) is not None:
            assert judged(machine, number) == errno.EPERM
    clone, pair_call, kill = (
        c[place] for c in (seccomp.CLONE, seccomp.SOCKETPAIR, seccomp.KILL_CALL)
    )
    assert judged(machine, clone, 0x11) == 0
    assert judged(machine, clone, 0x1000_0011) == errno.EPERM  # a user namespace
    assert judged(machine, pair_call, socket.AF_UNIX, socket.SOCK_STREAM | 0o2000000) == 0
    assert judged(machine, pair_call, socket.AF_UNIX, socket.SOCK_DGRAM) == errno.EPERM
    assert judged(machine, pair_call, socket.AF_INET, socket.SOCK_STREAM) == errno.EPERM
    assert judged(machine, kill, 99, 9) == 0
    assert judged(machine, kill, 4321, 9) == errno.EPERM
    assert judged(machine, kill, (1 << 32) - 1, 9) == errno.EPERM
    assert judged(machine, seccomp.PRLIMIT[place], 0) == 0
    assert judged(machine, seccomp.PRLIMIT[place], 99) == errno.EPERM
    assert judged(machine, seccomp.CLONE3) == errno.ENOSYS
    assert judged(machine, seccomp.NEWEST) == 0
    assert judged(machine, seccomp.NEWEST + 1) == errno.ENOSYS
    assert judged(machine, 0x4000_0000) == errno.ENOSYS
    assert judged(machine, 0, audit=0x4000_0003) == -1

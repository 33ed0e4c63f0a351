"""The inspection of point-cloud files: every lie is named, every real file is understood."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shared.errors import TaskFailed
from shared.preflight import REFUSALS, inspect, inspection
from shared.preflight.source import Source
from tests.fixtures.corpus import UNUSABLE, CorpusFile, corpus_or_skip, each_file
from tests.fixtures.honest import copc, field, las, laz, put, with_fields
from tests.fixtures.hostile import Lie, lies

ODDITIES_BY_NOTE = {
    "no-crs": "no_crs",
    "zero-points": "no_points",
    "undescribed-extra-bytes": "extra_bytes_undescribed",
    "legacy-count-mismatch": "legacy_count_missing",
    "header-size-393": "header_size_unusual",
    "duplicate extra-dimension name, laspy refuses": "extra_bytes_duplicate_name",
}
NO_CRS_BUT_ITS_SHELL = {"PDAL_PDAL__lots_of_vlr.las", "PDAL_PDAL__lots_of_vlr.9083b640.las"}
"""These have GeoTIFF keys that define nothing; reading them is the engine's business."""


def write(folder: Path, data: bytes) -> Path:
    path = folder / "cloud"
    path.write_bytes(data)
    return path


def refused(folder: Path, data: bytes, **limits: int) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        inspect(write(folder, data), **limits)
    return caught.value


def oddities(folder: Path, data: bytes) -> list[str]:
    return [oddity.code for oddity in inspect(write(folder, data)).warnings]


@pytest.mark.parametrize("lie", lies(), ids=lambda lie: lie.name)
def test_every_lie_is_refused_with_its_code_or_let_through_on_purpose(
    lie: Lie, tmp_path: Path
) -> None:
    path = lie.write(tmp_path)
    if lie.fate != "refused":
        codes = {oddity.code for oddity in inspect(path).warnings}
        assert lie.oddity is None or lie.oddity in codes
        return
    with pytest.raises(TaskFailed) as caught:
        inspect(path)
    assert caught.value.code == lie.code
    assert caught.value.detail.endswith(".")
    assert caught.value.remedy == REFUSALS[caught.value.code].remedy


def test_every_code_of_the_table_has_a_lie_that_reaches_it() -> None:
    told = {lie.code for lie in lies()}
    assert set(REFUSALS) - told == {"too_many_points"}, "a limit, tried below"


@each_file("valid", "odd")
@pytest.mark.corpus
def test_a_real_file_that_can_be_read_passes(file: CorpusFile) -> None:
    if file.name in UNUSABLE:
        pytest.skip(UNUSABLE[file.name])
    found = inspect(file.path)
    assert found.point_count == file.points
    assert found.point_format == file.point_format
    assert found.version == file.version
    assert found.compressed == (file.path.suffix == ".laz")
    assert found.needs_laszip == any(note.startswith("needs-laszip") for note in file.notes)
    assert found.copc == ("copc" in file.traits)
    codes = {oddity.code for oddity in found.warnings}
    expected = {ODDITIES_BY_NOTE[note] for note in file.notes if note in ODDITIES_BY_NOTE}
    if file.name in NO_CRS_BUT_ITS_SHELL:
        expected.discard("no_crs")
    assert expected <= codes


@each_file("invalid")
@pytest.mark.corpus
def test_a_real_file_that_cannot_be_read_is_refused(file: CorpusFile) -> None:
    with pytest.raises(TaskFailed) as caught:
        inspect(file.path)
    assert caught.value.code in REFUSALS


@pytest.mark.parametrize("point_format", [0, 1, 2, 3, 6, 7, 8])
@pytest.mark.parametrize("points", [0, 1, 50_000, 50_001])
def test_what_laspy_writes_passes(point_format: int, points: int, tmp_path: Path) -> None:
    for data in (las(point_format, points), laz(point_format, points)):
        found = inspect(write(tmp_path, data))
        codes = {oddity.code for oddity in found.warnings}
        assert found.point_count == points
        assert not found.needs_laszip
        assert codes == ({"no_points"} if points == 0 else set())


def test_a_copc_is_known_by_its_shape(tmp_path: Path) -> None:
    found = inspect(write(tmp_path, copc()))
    assert found.copc
    assert found.laszip is not None
    assert found.laszip.chunk_size is None
    assert [(vlr.user_id, vlr.record_id) for vlr in found.vlrs + found.evlrs] == [
        ("copc", 1),
        ("laszip encoded", 22204),
        ("copc", 1000),
    ]


def test_a_point_limit_is_kept(tmp_path: Path) -> None:
    assert refused(tmp_path, las(), max_points=999).code == "too_many_points"
    assert inspect(write(tmp_path, las()), max_points=1000).point_count == 1000


def test_small_files_may_expand_as_they_like(tmp_path: Path) -> None:
    assert refused(tmp_path, laz(), max_expansion=1, free_expansion_bytes=0).code == (
        "expansion_too_large"
    )
    assert inspect(write(tmp_path, laz()), max_expansion=1).compressed


def test_chunks_of_varying_size_need_their_table(tmp_path: Path) -> None:
    unfinished = put(copc(), field(copc(), "point_offset"), "q", -1)
    assert refused(tmp_path, unfinished).code == "chunk_table_missing"


def test_a_writer_that_stopped_before_the_count_does_not_make_an_empty_cloud(
    tmp_path: Path,
) -> None:
    place = field(laz(), "point_offset")
    unfinished = with_fields(put(laz(), place, "q", place), count=0)
    assert refused(tmp_path, unfinished).code == "points_uncounted"


def test_padding_behind_the_points_is_odd_and_more_points_are_refused(tmp_path: Path) -> None:
    assert oddities(tmp_path, las() + b"x") == ["trailing_bytes"]
    assert oddities(tmp_path, las() + bytes(34)) == ["trailing_bytes"]
    assert refused(tmp_path, las() + las()[-34:]).code == "points_uncounted"


def test_a_count_in_the_old_field_alone_holds(tmp_path: Path) -> None:
    old = with_fields(las(7), count=0, legacy_count=1000)
    assert inspect(write(tmp_path, old)).point_count == 1000
    assert oddities(tmp_path, old) == ["legacy_count_mismatch"]


def test_bounds_of_an_empty_file_do_not_matter(tmp_path: Path) -> None:
    swapped = with_fields(las(3, 0), min_x=float("inf"), max_x=float("-inf"))
    assert oddities(tmp_path, swapped) == ["no_points"]


def test_text_of_a_file_cannot_forge_a_log_line(tmp_path: Path) -> None:
    found = inspect(write(tmp_path, put(las(), 58, "32s", b"Evil\n\x1b[31mline\0rest")))
    assert found.generating_software == "Evil??[31mline"


class CountingSource(Source):
    opened: "list[CountingSource]" = []  # noqa: RUF012 - one list per test, set there

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.opened.append(self)


@pytest.mark.corpus
def test_at_most_a_mebibyte_of_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CountingSource, "opened", [])
    monkeypatch.setattr(inspection, "Source", CountingSource)
    for file in corpus_or_skip("valid", "odd"):
        inspect(file.path)
    inspect(write(tmp_path, _full_of_records()))
    left = [source.budget for source in CountingSource.opened]
    assert min(left) >= 0
    assert left[-1] < 600 << 10  # the made-up file is read in earnest, so the figures are real


def _full_of_records() -> bytes:
    """A LAS 1.4 with as many records and extended records as are read."""
    data, record = las(7), b"\0\0LASF_Projection\0\x34\x08\0\0"
    start, points = field(data, "header_size"), field(data, "point_offset")
    vlrs = record.ljust(54, b"\0") * 4096
    body = data[:start] + vlrs + data[points:]
    evlrs = b"\0\0LASF_Projection\0\x34\x08".ljust(60, b"\0") * 4096
    counted = with_fields(body + evlrs, vlr_count=4096, evlr_count=4096, evlr_offset=len(body))
    return with_fields(counted, point_offset=start + len(vlrs))


@pytest.mark.corpus
def test_mutated_files_are_read_or_refused_and_never_slow(tmp_path: Path) -> None:
    names = {
        "laspy_laspy__1_4_w_evlr.laz",
        "gadomski_las-rs__autzen.copc.laz",
        "visgl_loaders-gl__pdrf10-1.4.laz",
        "hobuinc_laz-perf__point-color-time.las.laz",
        "r-lidar_arbor__double_ring_slice0.las",
    }
    files = [file for file in corpus_or_skip("valid", "odd") if file.name in names]
    assert len(files) == 5
    random = np.random.default_rng(20)
    outcomes, slowest = set(), 0.0
    for file in files:
        data = file.path.read_bytes()
        for _ in range(400):
            path = write(tmp_path, mutated(data, random))
            start = time.process_time()
            outcomes.add(outcome(path))
            slowest = max(slowest, time.process_time() - start)
    assert slowest < 0.2
    assert outcomes <= {"passes", *REFUSALS}
    assert len(outcomes) > 15, "the mutations reach too few of the checks"


def outcome(path: Path) -> str:
    try:
        inspect(path)
    except TaskFailed as failure:
        return failure.code
    return "passes"


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A file with a few bytes changed, mostly where the structure is, or cut off."""
    changed = bytearray(data)
    if random.random() < 0.1:
        return bytes(changed[: random.integers(0, len(changed))])
    structure = min(len(changed), field(data, "point_offset") + 100)
    for _ in range(random.integers(1, 4)):
        place = random.integers(0, structure if random.random() < 0.8 else len(changed))
        changed[place] = random.choice([0, 1, 0x7F, 0x80, 0xFF, int(random.integers(0, 256))])
    return bytes(changed)


def test_the_inspection_needs_nothing_but_the_standard_library() -> None:
    program = (
        "import sys; import shared.preflight; "
        "print(*{name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert set(done.stdout.split()) <= {"shared", "__main__"}

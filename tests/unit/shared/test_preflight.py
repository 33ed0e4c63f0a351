"""The inspection of point-cloud files: every lie is named, every real file is understood."""

import contextlib
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shared.errors import TaskFailed
from shared.preflight import BUDGET, REFUSALS, Source, StatedCrs, inspect, inspect_source
from tests.fixtures.corpus import UNUSABLE, CorpusFile, corpus_or_skip, each_file
from tests.fixtures.honest import copc, field, las, laz, put, with_fields, with_keys, with_wkt
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


KNOWN_TO_HURT = {
    "lazrs aborts the process": ("laz_chunks_4000000000", "laz_table_in_the_points"),
    "lazrs panics": ("laszip_items_0", "laszip_item_type_22", "laz_table_garbage"),
    "lazrs takes gigabytes": ("laz_layer_of_4_gigabytes", "laszip_compressor_1"),
    "LASzip reads through a wild pointer": ("laszip_compressor_1", "laszip_compressor_2"),
    "laspy hangs": ("vlrs_4e9",),
    "laspy reserves before it checks": (
        "evlr_length_2_62",
        "evlrs_4e9",
        "record_length_65535",
        "las_count_1099511627776",
    ),
    "points are missing in silence": (
        "las_cut_in_half",
        "las_count_plus_1000",
        "las_count_18446744073709551615",
        "point_offset_4e9",
        "las_count_half",
        "las_count_0",
        "version_2_0",
        "version_1_2_on_1_4",
    ),
    "a cut LAZ names no reason": (
        "laz_cut_in_half",
        "laz_last_100_bytes_missing",
        "laz_table_at_the_end",
        "laz_table_far",
    ),
    "fields are read from the wrong places": (
        "laz_format_7_called_0",
        "laz_format_7_called_3",
        "laz_format_7_called_6",
        "las_format_7_called_0",
        "las_format_7_called_3",
    ),
    "coordinates become nonsense": (
        "scale_0",
        "scale_nan",
        "scale_inf",
        "scale_5e-324",
        "scale_-0.01",
        "offset_nan",
        "offset_1e+300",
        "bounds_nan",
        "bounds_swapped",
        "bounds_wrong",
    ),
    "the coordinate system is lost": ("vlrs_0_las", "vlrs_0_laz", "vlr_length_65535_las"),
    "numpy's error is shown": ("record_length_35", "las_cut_within_a_record"),
    "an exception from within a library": (
        "signature_and_zeros",
        "signature_and_noise",
        "text",
        "random_bytes",
        "empty",
        "wkt_bracket_bomb",
        "geotiff_code_65000",
    ),
    "bits flip unnoticed": ("laz_bit_flip_0",),
    "a bomb unpacks": ("bomb",),
    "a COPC reader hangs, crashes or takes it all": (
        "copc_page_is_itself",
        "copc_node_of_2e9_points",
        "copc_node_of_2_gigabytes",
        "copc_format_7_called_6",
    ),
}
"""What readers were seen to do with malformed files, and the lies that would make them."""


def test_every_way_in_which_readers_were_hurt_is_among_the_lies() -> None:
    made = {lie.name for lie in lies()}
    assert {name for names in KNOWN_TO_HURT.values() for name in names} <= made


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


UTM = (
    'PROJCS["UTM 32N",GEOGCS["ETRS89",DATUM["ETRS",SPHEROID["GRS 1980",6378137,298.2],'
    'AUTHORITY["EPSG","6258"]],AUTHORITY["EPSG","4258"]],UNIT["metre",1]{}]'
)
CODE = ',AUTHORITY["EPSG","25832"]'
HEIGHTS = 'VERT_CS["DHHN",VERT_DATUM["DHHN",2005],AUTHORITY["EPSG","7837"]]'


@pytest.mark.parametrize(
    ("wkt", "name", "epsg", "vertical", "geographic"),
    [
        (UTM.format(CODE), "UTM 32N", 25832, None, False),
        (UTM.format(""), "UTM 32N", None, None, False),
        (f'COMPD_CS["both",{UTM.format(CODE)},{HEIGHTS}]', "both", 25832, "DHHN", False),
        (f"BOUNDCRS[SOURCECRS[{UTM.format(CODE)}],TARGETCRS[]]", "UTM 32N", 25832, None, False),
        ('GEOGCRS["WGS 84",DATUM["W"],ID["EPSG",4326]]', "WGS 84", 4326, None, True),
        ('PROJCS["cut off",GEOGCS["', None, None, None, False),
        ('PROJCS["zero",AUTHORITY["EPSG","0"]]', "zero", None, None, False),
        ("nonsense", None, None, None, False),
    ],
)
def test_the_stated_coordinate_system_is_read_from_wkt(
    tmp_path: Path, wkt: str, name: str | None, epsg: int | None, vertical: str, geographic: bool
) -> None:
    crs = inspect(write(tmp_path, with_wkt(wkt.encode()))).crs
    number = 7837 if vertical else None
    assert crs == StatedCrs("wkt", name, epsg, vertical, number, geographic)


def test_the_stated_coordinate_system_is_read_from_geotiff_keys(tmp_path: Path) -> None:
    keys = [(1026, 34737, 9, 0), (3072, 0, 1, 25832), (4096, 0, 1, 7837)]
    crs = inspect(write(tmp_path, with_keys(keys, b"Somewhere|"))).crs
    assert crs == StatedCrs("geotiff", "Somewhere", 25832, None, 7837, geographic=False)
    own = with_keys([(2048, 0, 1, 4258), (3072, 0, 1, 32767)], b"")
    assert oddities(tmp_path, own) == ["crs_without_epsg"]


def test_metres_called_degrees_are_odd(tmp_path: Path) -> None:
    wkt = b'GEOGCS["WGS 84",DATUM["W",SPHEROID["W",6378137,298]],AUTHORITY["EPSG","4326"]]'
    assert oddities(tmp_path, with_wkt(wkt)) == ["crs_contradicts_bounds"]


def test_text_of_a_file_cannot_forge_a_log_line(tmp_path: Path) -> None:
    found = inspect(write(tmp_path, put(las(), 58, "32s", b"Evil\n\x1b[31mline\0rest")))
    assert found.generating_software == "Evil??[31mline"


@pytest.mark.corpus
def test_at_most_a_mebibyte_of_any_file_is_read_and_in_no_time(tmp_path: Path) -> None:
    paths = [file.path for file in corpus_or_skip()]
    paths += [lie.write(tmp_path) for lie in lies()]
    for path in paths:
        start = time.process_time()
        assert bytes_read(path) <= 1 << 20, path.name
        assert time.process_time() - start < 0.25, path.name


def test_the_budget_lasts_for_a_file_full_of_records(tmp_path: Path) -> None:
    path = write(tmp_path, _full_of_records(las(7)))
    assert 400 << 10 < bytes_read(path) < 600 << 10
    assert inspect(path).point_count == 1000


def test_many_long_records_cost_no_more_than_one(tmp_path: Path) -> None:
    path = write(tmp_path, _full_of_records(copc(), content=bytes(4000)))
    assert bytes_read(path) < 800 << 10
    assert inspect(path).copc


def bytes_read(path: Path) -> int:
    with Source(path) as source:
        with contextlib.suppress(TaskFailed):
            inspect_source(source)
        assert source.bytes_read + source.budget == BUDGET
        return source.bytes_read


def _full_of_records(data: bytes, *, content: bytes = b"") -> bytes:
    """A LAS 1.4 with as many records, all of one kind, and extended records as are read."""
    head = struct.pack("<H16sHH32s", 0, b"LASF_Projection", 2112, len(content), b"") + content
    start, points = field(data, "vlr_count"), field(data, "point_offset")
    vlrs = head * (4096 - start)
    body = bytearray(data[:points] + vlrs + data[points:])
    if field(data, "point_format") & 0x80:
        (table,) = struct.unpack_from("<q", data, points)
        struct.pack_into("<q", body, points + len(vlrs), table + len(vlrs))
    evlrs = b"\0\0LASF_Projection\0\x34\x08".ljust(60, b"\0") * 4096
    counted = with_fields(bytes(body) + evlrs, vlr_count=4096, evlr_count=4096)
    return with_fields(counted, evlr_offset=len(body), point_offset=points + len(vlrs))


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

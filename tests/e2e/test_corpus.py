"""Every real file through the running system: it ends as it must, nothing is lost, all is said."""

import asyncio
import hashlib
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest

from services.processor.pointcloud.proof.certificate_form import Certificate
from tests.e2e.uploading import Ended, Upload, fetch, node, send_all, two_slots
from tests.fixtures.broker import Broker
from tests.fixtures.corpus import UNUSABLE, CorpusFile, corpus_or_skip
from tests.fixtures.database import Database
from tests.fixtures.records import Rows, expected_records, records_of
from tests.fixtures.servers import Servers
from tests.fixtures.system import System

# The first test waits until all files are through.
pytestmark = [pytest.mark.corpus, pytest.mark.slow, pytest.mark.timeout(480)]

BROWSER = Path(__file__).parents[1] / "browser"
SECONDS = 10.0
"""Within this a file that cannot be used is refused."""

CODES: dict[str, set[str]] = {
    "390-vlrs": {"many_records"},
    "391-vlrs": {"many_records"},
    "all-same-xy": {"no_extent"},
    "bbox-mismatch": {"bounds_wrong", "bounds_zero"},
    "crs-error": {"crs_unreadable", "crs_unresolved"},
    "crs-unresolved": {"crs_unresolved", "crs_unreadable"},
    "crs-without-epsg": {"crs_without_epsg"},
    "duplicate extra-dimension name, laspy refuses": {"extra_bytes_duplicate_name"},
    "duplicate-points": {"duplicate_points"},
    "feet": {"coordinates_in_feet"},
    "geographic-crs": {"geographic_coordinates"},
    "header-size-393": {"header_size_unusual"},
    "legacy-count-mismatch": {"legacy_count_missing", "legacy_count_mismatch"},
    "named-copc-but-no-copc-vlr": {"copc_by_name_only"},
    "nan-gps-time": {"gps_time_not_finite"},
    "needs-laszip": {"read_by_laszip"},
    "no-crs": {"no_crs"},
    "one-point": {"one_point"},
    "return-number-0": {"return_number_zero"},
    "return>number-of-returns": {"return_number_too_high"},
    "returns-sum-mismatch": {"returns_in_header_wrong"},
    "rgb-8bit": {"colour_8bit", "colour_empty"},
    "some-return-0": {"return_number_zero"},
    "undescribed-extra-bytes": {"extra_bytes_undescribed"},
    "zero-points": {"no_points"},
}
"""What the manifest calls an oddity (up to a colon), and the codes of ours that name it."""

_USER_DEFINED = "its projected system is user-defined; 4326 is only what it says it is based on"
_FOUND_ONE = "PROJ finds the code, EPSG:25832, in its WKT"
_CODED_PARTS = "it is a compound; both its parts have codes, and the compound needs none"
OTHERWISE: dict[tuple[str, str], tuple[str, str]] = {
    **{
        (f"libLAS_libLAS__{name}.las", "geographic-crs"): ("crs_unresolved", _USER_DEFINED)
        for name in (
            "1.0_0.657cdd1c",
            "1.0_1.c9fa6403",
            "1.1_0",
            "1.2_0.604b1f4f",
            "1.2_3.f4795d5c",
        )
    },
    **{
        (f"mreutegg_laszip4j__record-format-{number}.laz", "crs-without-epsg"): ("", _FOUND_ONE)
        for number in (7, 8)
    },
    **{
        (name, "crs-without-epsg"): ("", _CODED_PARTS)
        for name in (
            "bi0m3trics_spanner__ALS_Clip.laz",
            "gadomski_las-rs__autzen.copc.laz",
            "GlacioHack_geoutils-data__points_test.las",
            "GlacioHack_geoutils-data__points_test.laz",
            "hobuinc_silvimetric__autzen_test.copc.laz",
            "PDAL_PDAL__autzen-bmx-2010.las",
            "PDAL_PDAL__autzen-bmx-2023.las",
            "PDAL_PDAL__autzen-bmx-core-points.las",
        )
    },
    **{
        (f"PDAL_PDAL__lots_of_vlr{number}.las", "no-crs"): (
            "crs_unresolved",
            "it has GeoTIFF keys, and they name nothing",
        )
        for number in ("", ".9083b640")
    },
    ("PDAL_PDAL__autzen-bmx-core-points.copc.laz", "crs-unresolved"): (
        "no_crs",
        "its WKT is an empty text",
    ),
}
"""File and note of the manifest that we name otherwise: the code, if any, and the reason."""


@dataclass(frozen=True)
class Verdict:
    """What became of a file; paths and findings only of those that were milled."""

    ended: Ended
    copc: Path
    certificate: dict[str, Any]
    browser: dict[str, Any]

    @property
    def oddities(self) -> list[str]:
        noted = self.certificate["warnings"] + self.certificate["repairs"]
        return sorted(note["code"] for note in noted)


@pytest.fixture(scope="module")
async def corpus_system(
    servers: Servers,
    module_database: Database,
    module_broker: Broker,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:
    corpus_or_skip()
    folder = tmp_path_factory.mktemp("corpus")
    async with two_slots(servers, module_database, module_broker, folder) as system:
        yield system


@pytest.fixture(scope="module")
async def verdicts(corpus_system: System) -> dict[str, Verdict]:
    """Send all files, fetch what came of them, and read it as a browser does."""
    files = [Upload(file.name, file.path.read_bytes()) for file in corpus_or_skip()]
    ended = await send_all(corpus_system, files)
    milled = {name: one.job for name, one in ended.items() if one.job and one.error is None}
    folder = corpus_system.folder / "fetched"
    folder.mkdir()
    for name, job in milled.items():
        for product in ("copc", "certificate"):
            await fetch(corpus_system, job["id"], product, folder / f"{name}.{product}")
    found = await read_as_browsers_do([folder / f"{name}.copc" for name in milled])
    return {
        name: Verdict(
            one,
            folder / f"{name}.copc",
            json.loads((folder / f"{name}.certificate").read_bytes()) if name in milled else {},
            found.get(f"{name}.copc", {}),
        )
        for name, one in ended.items()
    }


async def read_as_browsers_do(files: list[Path]) -> dict[str, dict[str, Any]]:
    """What copc and laz-perf find in these files, by file name."""
    assert (BROWSER / "node_modules").is_dir(), "npm ci --prefix tests/browser is to be run first"
    process = await asyncio.create_subprocess_exec(
        node(), BROWSER / "verify.mjs", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(200):
            out, err = await process.communicate("\n".join(map(str, files)).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    findings = [json.loads(line) for line in out.splitlines()]
    return {Path(finding["file"]).name: finding for finding in findings}


async def test_every_file_that_can_be_read_succeeds(verdicts: dict[str, Verdict]) -> None:
    wrong = {}
    for file in corpus_or_skip("valid", "odd"):
        ended = verdicts[file.name].ended
        if file.name in UNUSABLE:
            if ended.state == "succeeded" or not ended.says_why:
                wrong[file.name] = f"has to fail: {UNUSABLE[file.name]}"
        elif ended.state != "succeeded" or ended.result["points"] != file.points:
            wrong[file.name] = f"{ended.state} {ended.error}, {file.points} points expected"
    expect_none(wrong)


async def test_every_file_that_cannot_be_read_is_refused_with_its_own_code(
    verdicts: dict[str, Verdict],
) -> None:
    wrong = {}
    for file in corpus_or_skip("invalid"):
        ended = verdicts[file.name].ended
        attempts = ended.job["attempt"] if ended.job else 1
        if ended.state not in {"failed", "refused"} or not ended.says_why or attempts > 1:
            wrong[file.name] = f"{ended.state} after {attempts} attempts: {ended.error}"
        elif ended.seconds > SECONDS:
            wrong[file.name] = f"{ended.code} only after {ended.seconds} s"
    expect_none(wrong)


async def test_what_is_odd_about_a_file_is_named_in_its_certificate_and_its_result(
    verdicts: dict[str, Verdict],
) -> None:
    wrong = {}
    for file, verdict in milled(verdicts):
        said = {"", *verdict.oddities}
        for note in file.notes:
            if not codes_for(file, note) & said:
                wrong[file.name] = f"{note!r} is not among {verdict.oddities}"
        if verdict.oddities != sorted(one["code"] for one in verdict.ended.result["warnings"]):
            wrong[file.name] = "the result's warnings are not those of the certificate"
    expect_none(wrong)


async def test_a_certificate_says_that_all_went_from_the_source_into_the_product(
    verdicts: dict[str, Verdict],
) -> None:
    wrong = {}
    for file, verdict in milled(verdicts):
        certificate = Certificate.model_validate(verdict.certificate)
        source, agreement = certificate.source, certificate.agreement
        if not (agreement.points and agreement.classes):
            wrong[file.name] = agreement.statement
        elif source.sha256 != hashlib.sha256(file.path.read_bytes()).hexdigest():
            wrong[file.name] = "the source's checksum is another file's"
        elif certificate.copc.points != file.points:
            wrong[file.name] = f"{certificate.copc.points} points, {file.points} expected"
    expect_none(wrong)


async def test_the_coordinate_system_of_a_file_is_found(verdicts: dict[str, Verdict]) -> None:
    wrong = {}
    for file, verdict in milled(verdicts):
        epsg = file.crs.partition("yes:EPSG:")[2]
        found = verdict.ended.result["crs"]["epsg"]
        known = (file.name, "geographic-crs") not in OTHERWISE
        if epsg and known and found != int(epsg):
            wrong[file.name] = f"{verdict.ended.result['crs']}, EPSG:{epsg} expected"
    expect_none(wrong)


async def test_every_record_of_a_file_is_in_its_copc(verdicts: dict[str, Verdict]) -> None:
    wrong = {}
    for file, verdict in milled(verdicts):
        with laspy.CopcReader.open(verdict.copc) as reader:
            found = len(reader.query())
        rows = expected_records(file.path)
        if found != file.points:
            wrong[file.name] = f"a query finds {found} of {file.points} points"
        elif not np.array_equal(records_of(verdict.copc), rows):
            wrong[file.name] = "the records are not those of the source"
        elif file.points and not lies_where(file, rows, verdict.ended.result["bounds"]):
            wrong[file.name] = f"{verdict.ended.result['bounds']} are not the bounds of its points"
    expect_none(wrong)


def lies_where(file: CorpusFile, rows: Rows, bounds: dict[str, list[float]]) -> bool:
    """Whether these are the true bounds; what the source's header says of them may be wrong."""
    with file.path.open("rb") as source:
        scales, offsets = np.frombuffer(source.read(179)[131:], "<f8").reshape(2, 3)
    places = np.ascontiguousarray(rows[:, :12]).view("<i4") * scales + offsets
    true = np.sort([places.min(axis=0), places.max(axis=0)], axis=0)
    return bool(np.allclose([bounds["min"], bounds["max"]], true, rtol=0, atol=scales.min() / 100))


async def test_a_browser_reads_every_node_of_every_copc(verdicts: dict[str, Verdict]) -> None:
    wrong = {}
    for file, verdict in milled(verdicts):
        found = verdict.browser
        if found["problems"] or found["points"] != file.points:
            wrong[file.name] = f"{found}, {file.points} points expected"
    expect_none(wrong)


async def test_the_processor_has_survived_all_of_them(
    verdicts: dict[str, Verdict], corpus_system: System, summarize: Callable[[str, str], None]
) -> None:
    summarize("real files", table_of(verdicts))
    assert corpus_system.is_running("processor")
    good = next(file for file in corpus_or_skip("valid"))
    ended = await send_all(corpus_system, [Upload("good.laz", good.path.read_bytes())])
    assert ended["good.laz"].result["points"] == good.points


def codes_for(file: CorpusFile, note: str) -> set[str]:
    """The codes of which one has to be said, the empty one always is."""
    code, _ = OTHERWISE.get((file.name, note), (None, ""))
    return CODES[note.partition(":")[0]] if code is None else {code}


def milled(verdicts: dict[str, Verdict]) -> list[tuple[CorpusFile, Verdict]]:
    """The files that had to succeed and did; the first test is about the others."""
    files = [(file, verdicts[file.name]) for file in corpus_or_skip("valid", "odd")]
    return [(file, verdict) for file, verdict in files if verdict.certificate]


def expect_none(wrong: dict[str, str]) -> None:
    """Fail with a line for each file that something is wrong with."""
    if wrong:
        lines = [f"{name}: {what}" for name, what in wrong.items()]
        pytest.fail("\n".join([f"{len(wrong)} files", *lines]), pytrace=False)


def table_of(verdicts: dict[str, Verdict]) -> str:
    """One line per file: expectation, state, what is said of it, points, seconds."""
    lines = [f"{'file':72} {'manifest':8} {'state':9} {'points':>7} {'s':>5}  code or oddities"]
    for file in corpus_or_skip():
        verdict = verdicts[file.name]
        ended = verdict.ended
        points = ended.result["points"] if ended.error is None else ""
        said = ended.code or (", ".join(verdict.oddities) if verdict.certificate else "")
        lines.append(
            f"{file.name[:72]:72} {file.kind:8} {ended.state:9} {points:>7} "
            f"{ended.seconds:5.2f}  {said}"
        )
    return "\n".join(lines)

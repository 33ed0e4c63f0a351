"""The whole task on a small file: its products, its proof, its refusals."""

import hashlib
import json
from pathlib import Path

import laspy
import numpy as np
import pytest
from pydantic import ValidationError

from services.processor.pointcloud import mill
from services.processor.pointcloud.products.catalogue import DEFAULT
from services.processor.task import Outcome, Work
from services.processor.tasks.pointcloud_ingest import TASK, Params
from shared.errors import TaskFailed
from tests.fixtures.honest import chunked


def cloud(folder: Path, name: str = "my cloud.las", points: int = 3000) -> Path:
    header = laspy.LasHeader(point_format=1, version="1.2")
    header.scales = [0.01] * 3
    las = laspy.LasData(header)
    random = np.random.default_rng(1)
    las.X, las.Y, las.Z = random.integers(0, 5000, (3, points), dtype=np.int32)
    las.classification = random.choice([2, 6, 12], points)
    las.return_number = las.number_of_returns = np.ones(points, np.uint8)
    las.gps_time = np.arange(points, dtype=float)
    las.vlrs.append(laspy.VLR("somebody", 77, "a note", b"kept as it is"))
    path = folder / name
    las.write(path)
    return path


def ingest(
    source: Path | None, folder: Path, said: list[float], workers: int = 2, **params: object
) -> Outcome:
    out, scratch = folder / "out", folder / "scratch"
    for place in (out, scratch):
        place.mkdir()
    work = Work(
        source=source,
        source_name=source.name if source else None,
        out=out,
        scratch=scratch,
        memory_bytes=1 << 30,
        workers=workers,
        progress=lambda _stage, fraction, _message, _left=None: said.append(fraction),
        log=lambda _line: None,
    )
    return TASK.run(Params.model_validate(params), work)


def test_a_file_becomes_products_that_agree_with_each_other(tmp_path: Path) -> None:
    source, said = cloud(tmp_path), []
    outcome = ingest(source, tmp_path, said, crs="EPSG:25832")
    paths = {product.name: product.path for product in outcome.products}
    assert {"copc", "preview", "info", "dsm", "boundary", "item", "certificate"} <= set(paths)

    certificate = json.loads(paths["certificate"].read_text())
    info = json.loads(paths["info"].read_text())
    assert certificate["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert set(certificate["products"]) | set(certificate["products_left_out"]) >= set(DEFAULT)
    assert certificate["products_left_out"]["rgb"] == "The points have no colours."
    for name in ("copc", *(paths.keys() & set(DEFAULT))):
        digest = hashlib.sha256(paths[name].read_bytes()).hexdigest()
        assert certificate["products"][name]["sha256"] == digest
    assert certificate["source"]["classes"] == certificate["copc"]["classes"]
    assert certificate["source"]["points"] == certificate["copc"]["points"] == info["points"]
    assert info["flags"]["overlap"] == certificate["copc"]["classes"]["12"]
    assert info["crs"]["epsg"] == 25832
    assert outcome.result.model_dump()["points"] == 3000
    assert {note["code"] for note in certificate["warnings"]} >= {"crs_overridden"}


def test_only_the_products_asked_for_are_made(tmp_path: Path) -> None:
    outcome = ingest(cloud(tmp_path), tmp_path, [], products=["preview"])
    assert {product.name for product in outcome.products} == {
        "copc",
        "preview",
        "item",
        "certificate",
    }
    assert outcome.result.model_dump()["density"] is not None


def test_a_cloud_alone_has_a_proof_and_nothing_else_is_looked_at(tmp_path: Path) -> None:
    outcome = ingest(cloud(tmp_path), tmp_path, [], products=[])
    paths = {product.name: product.path for product in outcome.products}
    assert set(paths) == {"copc", "item", "certificate"}
    certificate = json.loads(paths["certificate"].read_text())
    assert certificate["source"]["classes"] == certificate["copc"]["classes"]
    assert outcome.result.model_dump()["density"] is None


def test_strays_and_too_fine_a_grid_are_said(tmp_path: Path) -> None:
    source = cloud(tmp_path)
    las = laspy.read(source)
    las.X[7] = 900_000_000
    las.write(source)
    outcome = ingest(source, tmp_path, [], products=["density"], resolution=0.001)
    warnings = {one["code"]: one["message"] for one in outcome.result.model_dump()["warnings"]}
    assert warnings.keys() >= {"points_far_away", "resolution_changed"}
    assert "0.001" in warnings["resolution_changed"]


def test_areas_of_degrees_are_told_in_square_metres(tmp_path: Path) -> None:
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales = [1e-7, 1e-7, 0.01]
    las = laspy.LasData(header)
    las.X, las.Y, las.Z = np.random.default_rng(1).integers(0, 5000, (3, 3000), dtype=np.int32)
    las.return_number = las.number_of_returns = np.ones(3000, np.uint8)
    source = tmp_path / "degrees.las"
    las.write(source)
    outcome = ingest(source, tmp_path, [], products=["info"], crs="EPSG:4326")
    (info,) = (product.path for product in outcome.products if product.name == "info")
    density = json.loads(info.read_text())["density"]
    # 5000 steps of a ten-millionth of a degree are 55.6 m at the equator.
    assert density["bounding_area"] == pytest.approx(55.6**2, rel=0.02)
    assert density["unit"] == "metre"
    assert density["points_per_square_unit"] == pytest.approx(3000 / 55.6**2, rel=0.2)


def test_an_unknown_product_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ValidationError, match=r"there is no product 'dsn'.*preview"):
        Params.model_validate({"products": ["dsn"]})
    names = Params.model_json_schema()["properties"]["products"]["anyOf"][0]["items"]["enum"]
    assert {"info", "preview"} <= set(names)


def test_progress_never_goes_back_and_ends_at_one(tmp_path: Path) -> None:
    said: list[float] = []
    ingest(cloud(tmp_path), tmp_path, said)
    assert said == sorted(said)
    assert (said[0], said[-1]) == (0.0, 1.0)


def test_records_of_others_are_handed_on(tmp_path: Path) -> None:
    outcome = ingest(cloud(tmp_path), tmp_path, [])
    (copc,) = (product.path for product in outcome.products if product.name == "copc")
    with laspy.open(copc) as reader:
        notes = [vlr for vlr in reader.header.vlrs if vlr.user_id == "somebody"]
    assert [(note.record_id, note.record_data) for note in notes] == [(77, b"kept as it is")]


def test_a_name_that_lies_about_copc_is_said(tmp_path: Path) -> None:
    outcome = ingest(cloud(tmp_path, "town.copc.laz"), tmp_path, [])
    assert "copc_by_name_only" in {w["code"] for w in outcome.result.model_dump()["warnings"]}


@pytest.mark.parametrize(
    ("params", "code"), [({"crs": "EPSG:1"}, "crs_unknown"), ({}, "not_a_las_file")]
)
def test_what_cannot_be_done_is_refused_with_a_code(
    tmp_path: Path, params: dict[str, object], code: str
) -> None:
    source = cloud(tmp_path)
    if not params:
        source.write_bytes(b"no points here" * 100)
    with pytest.raises(TaskFailed) as failure:
        ingest(source, tmp_path, [], **params)
    assert failure.value.code == code
    assert failure.value.remedy


@pytest.mark.parametrize(
    "params", [{"crs": ""}, {"preview_size": 10}, {"preview_size": 1 << 20}, {"colour": "red"}]
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate(params)


def test_a_damaged_file_is_refused_and_the_refusal_names_the_salvage(tmp_path: Path) -> None:
    source = tmp_path / "damaged.laz"
    source.write_bytes(chunked(7, 1200, 500)[:-1])
    with pytest.raises(TaskFailed) as failure:
        ingest(source, tmp_path, [])
    assert failure.value.code == "chunk_table_damaged"
    assert "salvage=true" in failure.value.remedy


def test_a_salvage_brings_a_cloud_and_a_certificate_of_the_loss(tmp_path: Path) -> None:
    data = chunked(7, 1200, 500)
    source, said = tmp_path / "damaged.laz", []
    source.write_bytes(data[: len(data) * 2 // 3])
    outcome = ingest(source, tmp_path, said, salvage=True)
    paths = {product.name: product.path for product in outcome.products}
    certificate = json.loads(paths["certificate"].read_text())

    loss = certificate["salvage"]
    assert loss["refused_as"] == "laz_truncated"
    assert loss["chunk_table_rebuilt"]
    assert (loss["points_claimed"], loss["points_rescued"], loss["points_lost"]) == (1200, 500, 700)
    assert [(lost["first"], lost["points"]) for lost in loss["lost"]] == [(500, 700)]
    assert certificate["source"]["points"] == 1200
    assert certificate["copc"]["points"] == 500
    assert certificate["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (certificate["source"]["format"], certificate["source"]["decoder"]) == ("LAZ", "salvage")
    assert not certificate["agreement"]["points"]
    assert "points_lost" in {warning["code"] for warning in outcome.result.model_dump()["warnings"]}
    assert said == sorted(said)
    with laspy.CopcReader.open(paths["copc"]) as reader:
        assert len(reader.query()) == 500


def test_a_salvage_of_a_sound_file_makes_the_very_same_products(tmp_path: Path) -> None:
    source = tmp_path / "sound.laz"
    source.write_bytes(chunked(3, 1200, 500))
    made = {}
    for salvage in (False, True):
        folder = tmp_path / str(salvage)
        folder.mkdir()
        outcome = ingest(source, folder, [], salvage=salvage)
        made[salvage] = {product.name: product.path for product in outcome.products}
    certificates = {
        salvage: json.loads(paths.pop("certificate").read_text()) for salvage, paths in made.items()
    }
    for name, path in made[False].items():
        assert path.read_bytes() == made[True][name].read_bytes(), name
    differing = {"effort", "parameters", "salvage", "source"}
    assert {
        name
        for name in certificates[False]
        if certificates[False][name] != certificates[True][name]
    } == differing
    assert certificates[True]["salvage"]["points_lost"] == 0
    assert certificates[False]["salvage"] is None


def test_a_salvage_is_the_same_for_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mill, "_ALONE_POINTS", 0)
    data = bytearray(chunked(7, 1200, 500))
    data[6000] ^= 4
    source = tmp_path / "damaged.laz"
    source.write_bytes(data)
    made = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        outcome = ingest(source, folder, [], workers, salvage=True, products=[])
        paths = {product.name: product.path for product in outcome.products}
        certificate = json.loads(paths["certificate"].read_text())
        made.append((paths["copc"].read_bytes(), certificate["salvage"]))
    assert made[0] == made[1]


def test_nothing_to_salvage_is_said_with_a_code(tmp_path: Path) -> None:
    source = tmp_path / "damaged.laz"
    source.write_bytes(chunked(7, 1200, 500)[:3000])
    with pytest.raises(TaskFailed) as failure:
        ingest(source, tmp_path, [], salvage=True)
    assert failure.value.code == "nothing_to_salvage"

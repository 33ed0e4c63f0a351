"""The certificate: its shape, what it compares, what it finds missing, and that it is repeatable."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import laspy
import numpy as np
import pytest

from services.processor.pointcloud.las.conversion import describe_conversion
from services.processor.pointcloud.proof.certificate import DONE
from services.processor.pointcloud.proof.certificate_form import SCHEMA, Certificate, schema
from tests.fixtures.corpus import corpus_or_skip
from tests.unit.processor.pointcloud.conftest import WriteCloud
from tests.unit.processor.pointcloud.ingesting import ingest, read_product

VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
QUICK = {"products": ["info"]}


def certify(source: Path, folder: Path, **params: object) -> dict[str, Any]:
    certificate = read_product(ingest(source, folder, **{**QUICK, **params}), "certificate")
    VALIDATOR.validate(certificate)
    return certificate


def test_the_published_schema_is_that_of_the_form() -> None:
    assert SCHEMA.read_text() == schema(), "run make contracts"
    jsonschema.Draft202012Validator.check_schema(json.loads(schema()))


def test_what_went_in_came_out(write_cloud: WriteCloud, tmp_path: Path) -> None:
    source = write_cloud(point_format=3)
    certificate = certify(source, tmp_path, crs="EPSG:25832")
    assert certificate["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert certificate["agreement"]["points"]
    assert certificate["agreement"]["classes"]
    assert certificate["source"]["classes"] == certificate["copc"]["classes"]
    assert certificate["source"]["bounds"] == certificate["copc"]["bounds"]
    assert certificate["agreement"]["bounds"]
    assert certificate["agreement"]["statement"].startswith("All 1000 points of the source")
    assert certificate["conversion"]["source_point_format"] == 3
    assert certificate["conversion"]["product_point_format"] == 7
    assert certificate["parameters"]["crs"] == "EPSG:25832"


def test_every_product_has_its_checksums_and_every_stage_its_memory(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    outcome = ingest(write_cloud(), tmp_path)
    certificate = Certificate.model_validate(read_product(outcome, "certificate"))
    others = {
        product.name: product for product in outcome.products if product.name != "certificate"
    }
    assert set(certificate.products) == set(others)
    for name, product in others.items():
        said = certificate.products[name]
        assert said.sha256 == hashlib.sha256(product.path.read_bytes()).hexdigest()
        assert (said.file, said.bytes) == (product.path.name, product.path.stat().st_size)
    stages = certificate.effort.stages
    assert [stage.stage for stage in stages][:2] == ["inspect", "read"]
    assert all(stage.peak_memory_bytes for stage in stages)
    peaks = [stage.peak_memory_bytes or 0 for stage in stages]
    assert certificate.effort.peak_memory_bytes == max(peaks) > 10 << 20


def test_a_retry_makes_the_same_certificate_but_for_its_effort(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    source = write_cloud(point_format=1)
    first, second = (certify(source, tmp_path / name) for name in ("first", "second"))
    assert first.pop("effort").keys() == second.pop("effort").keys()
    assert first == second


def test_what_the_source_does_wrong_and_the_product_right_is_a_repair(
    write_cloud: WriteCloud, tmp_path: Path
) -> None:
    source = write_cloud(point_format=6)
    data = bytearray(source.read_bytes())
    data[179:187] = np.float64(9e6).tobytes()  # the largest x
    source.write_bytes(data)
    certificate = certify(source, tmp_path)
    repairs = {repair["code"]: repair for repair in certificate["repairs"]}
    assert repairs["bounds_wrong"]["done"] == DONE["bounds_wrong"]
    assert not certificate["agreement"]["bounds"]
    assert certificate["source"]["bounds_in_header"]["max"][0] == 9e6
    assert certificate["source"]["bounds"]["max"][0] < 9e6
    warnings = {warning["code"] for warning in certificate["warnings"]}
    assert "no_crs" in warnings
    assert not warnings & set(DONE)


@pytest.mark.parametrize(
    ("crs", "found", "missing"),
    [
        (None, "none", ["crs"]),
        ("EPSG:25832", "parameter", ["vertical_datum"]),
        ("EPSG:25832+7837", "parameter", []),
        ("EPSG:4979", "parameter", []),
        (
            "+proj=tmerc +lat_0=1 +lon_0=9.1 +ellps=GRS80",
            "parameter",
            ["epsg_code", "vertical_datum"],
        ),
    ],
)
def test_what_is_missing_of_the_coordinate_system_is_said(
    write_cloud: WriteCloud, tmp_path: Path, crs: str | None, found: str, missing: list[str]
) -> None:
    facts = certify(write_cloud(), tmp_path, crs=crs)["crs"]
    assert facts["found"] == found
    assert [note["code"] for note in facts["missing"]] == missing


def test_the_change_of_overlapping_points_is_counted() -> None:
    assert any("12, 7, got" in sentence for sentence in describe_conversion(1, 7))
    assert not any("overlap" in sentence for sentence in describe_conversion(1, 0))


def test_an_empty_cloud_has_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "empty.las"
    laspy.LasData(laspy.LasHeader(point_format=6, version="1.4")).write(path)
    certificate = certify(path, tmp_path)
    assert certificate["copc"]["bounds"] is None
    assert certificate["agreement"]["points"]
    assert "neither has the COPC file" in certificate["agreement"]["statement"]


@pytest.mark.corpus
def test_the_certificates_of_real_files_are_of_the_published_shape(tmp_path: Path) -> None:
    files = [file for file in corpus_or_skip("valid", "odd") if file.path.stat().st_size < 50_000]
    for number, file in enumerate(files[::4]):
        certificate = certify(file.path, tmp_path / str(number))
        assert certificate["agreement"]["points"], file.name
        assert certificate["agreement"]["classes"], file.name
        assert certificate["copc"]["points"] == file.points

"""Turn an uploaded LAS or LAZ file into a streamable cloud, with a picture, facts and proof."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from services.processor.pointcloud.certificate import certify
from services.processor.pointcloud.crs import CloudCrs, find_crs
from services.processor.pointcloud.info import describe
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.mill import Milled, Order, mill
from services.processor.pointcloud.oddities import find_oddities
from services.processor.pointcloud.preview import draw_preview
from services.processor.pointcloud.source import Source, read_source
from services.processor.task import Outcome, Product, Task, Work
from shared.errors import TaskFailed
from shared.preflight import Oddity, inspect


class Params(BaseModel):
    """What a caller may choose."""

    model_config = ConfigDict(extra="forbid")

    crs: Annotated[str, Field(min_length=1, max_length=65_000)] | None = Field(
        default=None,
        description="The coordinate system, as EPSG:code or WKT, in place of what the file says.",
        examples=["EPSG:25832"],
    )
    preview_size: int = Field(
        default=1024, ge=64, le=4096, description="Pixels along the longer side of the preview."
    )


class Bounds(BaseModel):
    """The corners of the box around all points, in the cloud's coordinates."""

    min: tuple[float, float, float]
    max: tuple[float, float, float]


class Crs(BaseModel):
    """The coordinate system, and whether the file, its keys or the caller named it."""

    found: str
    name: str | None
    epsg: int | None
    vertical_epsg: int | None
    unit: str | None


class Warned(BaseModel):
    """Something unusual that is worth knowing."""

    code: str
    message: str


class Result(BaseModel):
    """The cloud in a few words; the rest is in the products `info` and `certificate`."""

    points: int
    point_format: int
    bounds: Bounds | None
    crs: Crs
    density: float | None = Field(description="Points per square unit of covered ground.")
    nodes: int
    warnings: list[Warned]


def run(params: Params, work: Work) -> Outcome:
    """Mill the source; raises TaskFailed with the preflight's and the engine's codes."""
    if work.source is None:
        raise TaskFailed(
            "source_missing",
            "There is no file to work on",
            "The job has no cloud with a stored file.",
            "Upload a file to the cloud first.",
        )
    meter = Meter(work.progress)
    meter.stage("inspect", 1, "Inspecting the file")
    seen = inspect(work.source)
    source = read_source(work.source)
    crs = find_crs(source, params.crs)
    copc = work.out / "copc.laz"
    order = Order(
        source=source,
        crs=crs,
        copc=copc,
        scratch=work.scratch,
        workers=work.workers,
        memory_bytes=work.memory_bytes,
        picture_cells=params.preview_size,
        needs_laszip=seen.needs_laszip,
    )
    milled = mill(order, meter)
    oddities = _merged(seen.warnings, find_oddities(source, crs, milled), crs)
    if (work.source_name or "").lower().endswith(".copc.laz") and not seen.copc:
        note = "The file's name says COPC, but there is none in it; it was read as plain LAZ."
        oddities.append(Oddity("copc_by_name_only", note))
    facts = describe(source, crs, milled)
    products = _write_products(work, order, milled, facts, meter)
    certificate = certify(source, crs, milled, {p.name: p.path for p in products}, oddities)
    meter.finish()
    certificate["parameters"] = params.model_dump()
    certificate["effort"] = {
        "seconds": meter.seconds,
        "processes": milled.processes,
        "memory_bytes_at_most": milled.peak_bytes,
    }
    path = work.out / "certificate.json"
    _write_json(path, certificate)
    products.append(Product("certificate", path, "application/json"))
    return Outcome(_result(source, crs, milled, facts, oddities), tuple(products))


def _write_products(
    work: Work, order: Order, milled: Milled, facts: dict[str, Any], meter: Meter
) -> list[Product]:
    """Everything but the certificate, which has their checksums."""
    meter.stage("picture", 1, "Drawing the preview")
    preview, info = work.out / "preview.png", work.out / "info.json"
    draw_preview(milled.surface, preview, order.picture_cells)
    _write_json(info, facts)
    meter.stage("certify", 1, "Taking checksums")
    return [
        Product("copc", order.copc, "application/vnd.laszip+copc"),
        Product("preview", preview, "image/png"),
        Product("info", info, "application/json"),
    ]


def _result(
    source: Source, crs: CloudCrs, milled: Milled, facts: dict[str, Any], oddities: list[Oddity]
) -> Result:
    product = milled.product
    return Result(
        points=product.points,
        point_format=product.point_format,
        bounds=Bounds(min=product.mins, max=product.maxs) if source.point_count else None,
        crs=Crs(
            found=crs.found,
            name=crs.name,
            epsg=crs.epsg,
            vertical_epsg=crs.vertical_epsg,
            unit=crs.unit,
        ),
        density=(facts["density"] or {}).get("points_per_square_unit"),
        nodes=milled.nodes,
        warnings=[Warned(code=oddity.code, message=oddity.message) for oddity in oddities],
    )


def _merged(first: tuple[Oddity, ...], second: list[Oddity], crs: CloudCrs) -> list[Oddity]:
    """Both lists; a code that stands in the first is not repeated."""
    # What the header says about its coordinate system no longer matters if the caller chose one.
    settled = {"no_crs", "crs_without_epsg"} if crs.found == "parameter" else set()
    kept = [oddity for oddity in first if oddity.code not in settled]
    known = {oddity.code for oddity in kept}
    return [*kept, *(oddity for oddity in second if oddity.code not in known)]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


TASK = Task(
    kind="pointcloud.ingest",
    title="Mill a point cloud",
    description="Checks a LAS or LAZ file and makes a COPC file, a preview, facts and a certificate.",
    params=Params,
    result=Result,
    run=run,
    needs_source=True,
)

"""Turn an uploaded LAS or LAZ file into a streamable cloud, with a picture, facts and proof."""

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.processor.pointcloud.forecast import (
    forecast_end,
    forecast_products,
    likely_cells,
)
from services.processor.pointcloud.las.crs import CloudCrs, find_crs
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.mill import mill
from services.processor.pointcloud.order import Order
from services.processor.pointcloud.products.catalogue import DEFAULT, NAMES, load_products
from services.processor.pointcloud.products.info import describe_density
from services.processor.pointcloud.products.kind import Cloud, NotApplicable, ProductKind, Settings
from services.processor.pointcloud.proof.certificate import Account
from services.processor.pointcloud.proof.oddities import find_oddities
from services.processor.pointcloud.proof.proof import Made, write_proof
from services.processor.pointcloud.salvage.salvage import salvage
from services.processor.task import Outcome, Product, Task, Work
from shared.errors import TaskFailed
from shared.preflight import Oddity, inspect


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"there is no product {name!r}; there are {', '.join(NAMES)}")
    return name


ProductName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(NAMES)})]


class Params(BaseModel):
    """What a caller may choose."""

    model_config = ConfigDict(extra="forbid")

    crs: Annotated[str, Field(min_length=1, max_length=65_000)] | None = Field(
        default=None,
        description="The coordinate system, as EPSG:code or WKT, in place of what the file says.",
        examples=["EPSG:25832"],
    )
    products: list[ProductName] | None = Field(
        default=None,
        description="What to make besides the COPC file, its certificate and its STAC item; "
        f"without a choice {', '.join(DEFAULT)}.",
        examples=[["info", "preview"]],
    )
    resolution: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="The side of a cell of the rasters: in metres if the coordinates are degrees, in "
        "their own unit otherwise; without a choice it follows from the density of the points.",
        examples=[0.5],
    )
    preview_size: int = Field(
        default=1024, ge=64, le=4096, description="Pixels along the longer side of the preview."
    )
    contour_interval: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="From one contour line to the next, in the unit of the heights; without a "
        "choice a round one that gives 10 to 25 levels.",
        examples=[0.5],
    )
    classify_ground: bool = Field(
        default=False,
        description="Whether points in class 0 or 1 become ground (2) or unclassified (1) where the "
        "source does not say which points are ground; every record stays as it was otherwise.",
    )
    salvage: bool = Field(
        default=False,
        description="Whether to keep what can still be read of a damaged file; the certificate "
        "says what was lost.",
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
    density: float | None = Field(
        description="Points per square unit of covered ground, square metres for degrees."
    )
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
    if params.salvage:
        salvaged = salvage(work.source, work.scratch, work.memory_bytes, meter)
        seen, source = salvaged.seen, salvaged.source
    else:
        salvaged = None
        seen, source = inspect(work.source), read_source(work.source)
    crs = find_crs(source, params.crs)
    kinds = load_products(DEFAULT if params.products is None else params.products)
    order = Order(
        source=source,
        crs=crs,
        copc=work.out / "copc.laz",
        scratch=work.scratch,
        workers=work.workers,
        memory_bytes=work.memory_bytes,
        needs=frozenset(need for kind in kinds for need in kind.needs),
        resolution=params.resolution,
        classify_ground=params.classify_ground,
        needs_laszip=seen.needs_laszip,
    )
    names = [kind.name for kind in kinds]
    costs = forecast_products(names, params.preview_size, likely_cells(source))
    meter.expect(forecast_end(source, costs))
    milled = mill(order, meter)
    oddities = _merged(seen.warnings, find_oddities(source, crs, milled), crs)
    if salvaged is not None:
        oddities = [*salvaged.oddities(), *oddities]
    if (work.source_name or "").lower().endswith(".copc.laz") and not seen.copc:
        note = "The file's name says COPC, but there is none in it; it was read as plain LAZ."
        oddities.append(Oddity("copc_by_name_only", note))
    settings = Settings(picture_cells=params.preview_size, contour_interval=params.contour_interval)
    cloud = Cloud(source, crs, milled, order.copc, work.scratch, settings)
    if milled.surface:
        frame = milled.surface.frame
        costs = forecast_products(names, params.preview_size, frame.width * frame.height)
        meter.expect(forecast_end(source, costs))
    written = _write_products(kinds, cloud, work.out, meter, costs)
    products = [Product("copc", order.copc, "application/vnd.laszip+copc"), *written.products]
    account = Account(
        source_name=work.source_name,
        parameters=params.model_dump(mode="json"),
        oddities=oddities,
        left_out=written.left_out,
        cpu_seconds=written.cpu_seconds,
        salvage=salvaged.describe() if salvaged else None,
        titles={kind.name: kind.title for kind in kinds},
    )
    made = {product.name: Made(product.path, product.media_type) for product in products}
    for name, one in write_proof(cloud, made, account, work.out, meter).items():
        products.append(Product(name, one.path, one.media_type))
    return Outcome(_result(cloud, oddities), tuple(products))


@dataclass(frozen=True)
class _Written:
    """The products that were made, why others were not, and what each took."""

    products: list[Product]
    left_out: dict[str, str]
    cpu_seconds: dict[str, float]


def _write_products(
    kinds: Sequence[ProductKind],
    cloud: Cloud,
    out: Path,
    meter: Meter,
    costs: Mapping[str, float],
) -> _Written:
    """Everything that is not written in any case."""
    written = _Written([], {}, {})
    # The steps are milliseconds, as far as they are known.
    meter.stage("products", round(sum(costs.values()) * 1000), "Making the products")
    for kind in kinds:
        path, since = out / kind.file, time.process_time()
        try:
            kind.write(cloud, path)
            written.products.append(Product(kind.name, path, kind.media_type))
        except NotApplicable as reason:
            written.left_out[kind.name] = str(reason)
        written.cpu_seconds[kind.name] = round(time.process_time() - since, 3)
        meter.add(round(costs[kind.name] * 1000))
    return written


def _result(cloud: Cloud, oddities: list[Oddity]) -> Result:
    product, crs = cloud.milled.product, cloud.crs
    density = describe_density(cloud.milled, crs) or {}
    return Result(
        points=product.points,
        point_format=product.point_format,
        bounds=Bounds(min=product.mins, max=product.maxs) if product.points else None,
        crs=Crs(
            found=crs.found,
            name=crs.name,
            epsg=crs.epsg,
            vertical_epsg=crs.vertical_epsg,
            unit=crs.unit,
        ),
        density=density.get("points_per_square_unit"),
        nodes=cloud.milled.nodes,
        warnings=[Warned(code=oddity.code, message=oddity.message) for oddity in oddities],
    )


def _merged(first: tuple[Oddity, ...], second: list[Oddity], crs: CloudCrs) -> list[Oddity]:
    """Both lists; a code that stands in the first is not repeated."""
    # What the header says about its coordinate system no longer matters if the caller chose one, and
    # a code that PROJ finds is one.
    about_crs = {"no_crs", "crs_without_epsg", "crs_contradicts_bounds"}
    settled = about_crs if crs.found == "parameter" else set()
    if crs.epsg is not None:
        settled = settled | {"crs_without_epsg"}
    kept = [oddity for oddity in first if oddity.code not in settled]
    known = {oddity.code for oddity in kept}
    return [*kept, *(oddity for oddity in second if oddity.code not in known)]


def prepare() -> None:
    """Import what makes the products and finds the ground; a small cloud is milled in less time."""
    load_products(NAMES)
    # Modules import it where they need it, since most clouds do without.
    importlib.import_module("scipy.ndimage")


TASK = Task(
    kind="pointcloud.ingest",
    title="Mill a point cloud",
    description="Checks a LAS or LAZ file and makes a COPC file, a preview, facts and a certificate.",
    params=Params,
    result=Result,
    run=run,
    prepare=prepare,
    needs_source=True,
)

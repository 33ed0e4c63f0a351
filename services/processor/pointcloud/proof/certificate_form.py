"""The shape of certificate.json. Its JSON Schema stands beside this module and is generated from it:
`python -m services.processor.pointcloud.proof.certificate_form` writes it.

A field that is added makes the version 1.1, one that is renamed, removed or changed in meaning 2.0.
All but `effort` and `software` is the same for the same source and parameters.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = Path(__file__).with_name("certificate.schema.json")

Count = Annotated[int, Field(ge=0)]
ByClass = Annotated[dict[str, Count], Field(description="Number of points by class number.")]
Corner = tuple[float | None, float | None, float | None]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Box(_Part):
    """Least and largest x, y and z; null where the header has no number."""

    min: Corner
    max: Corner


class FileFacts(_Part):
    """A file and its checksums."""

    bytes: Count
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    crc32c: str = Field(pattern="^[0-9a-f]{8}$")


class Product(FileFacts):
    """A file that was made."""

    file: str
    media_type: str


class SourceFacts(FileFacts):
    """The file that went in, as its header says and as its points are."""

    format: Literal["LAS", "LAZ"]
    version: str
    point_format: int
    record_length: int
    extra_bytes: Count = Field(description="Bytes of a record beyond those of its point format.")
    points: Count
    classes: ByClass = Field(description="As the points were decoded.")
    bounds_in_header: Box
    bounds: Box | None = Field(description="Those of the points; null for an empty cloud.")
    gps_time: Literal["adjusted_standard", "seconds_of_week"] | None = Field(
        description="What the GPS times count, as the header says; null where points have none."
    )
    system: str
    software: str
    created: str | None = Field(description="The date in the header.")
    decoder: Literal["plain", "lazrs", "laszip", "salvage"] = Field(
        description="What read the points."
    )


class CopcFacts(_Part):
    """The cloud that came out."""

    version: str
    point_format: int
    record_length: int
    points: Count
    classes: ByClass = Field(description="Counted as the nodes were written.")
    bounds: Box | None
    nodes: Count
    depth: Count = Field(description="The level of the finest nodes; the root is level 0.")


class Agreement(_Part):
    """Whether what came out is what went in."""

    points: bool = Field(description="As many points came out as went in.")
    classes: bool = Field(
        description="As many of each class, too; where the ground was looked for, but for points "
        "that were not classified before."
    )
    bounds: bool = Field(description="The source's header has the bounds of its points.")
    statement: str


class Note(_Part):
    """Something worth knowing; programs decide by the code."""

    code: str
    message: str


class Repair(Note):
    """Something the source does wrong and the product does right."""

    done: str


class CrsFacts(_Part):
    """The coordinate system, who says so, and what nobody has said."""

    found: Literal["wkt_vlr", "wkt_evlr", "geotiff", "parameter", "none"]
    statement: str
    name: str | None
    epsg: int | None
    vertical_epsg: int | None
    wkt: str | None
    proj4: str | None
    unit: str | None
    vertical_unit: str | None
    geographic: bool
    missing: list[Note]


class Conversion(_Part):
    """What the change of the point format did to the records."""

    source_point_format: int
    product_point_format: int
    changed: list[str]


class Record(_Part):
    """A variable length record of the source and what became of it."""

    user_id: str
    record_id: int
    bytes: Count
    extended: bool
    kept: bool
    reason: str | None = Field(description="Why it was not kept.")


class LostPoints(_Part):
    """Points of a damaged file that are gone."""

    first: int | None = Field(description="The number of the first; null if it cannot be known.")
    points: int | None = Field(description="How many; null if it cannot be known.")
    bytes: tuple[int, int] | None = Field(
        description="Where they lay: the first byte, and the first behind them. Null if nowhere."
    )
    reason: str


class SuspectedPoints(_Part):
    """Points that were rescued, but may not be what they were. Counted among the rescued ones."""

    first: Count
    last: Count
    points: Count
    reason: str


class Salvage(_Part):
    """What was rescued of a file that may be damaged, and what was lost."""

    refused_as: str | None = Field(
        description="The code of the refusal without a salvage, as far as the header shows damage."
    )
    points_read: Literal[
        "by its table", "by the chunks' own lengths", "in order", "record by record"
    ] = Field(description="How the points were found.")
    chunk_table_rebuilt: bool
    points_claimed: Count = Field(description="How many the header promises.")
    points_rescued: Count
    points_lost: Count
    lost: list[LostPoints] = Field(description="In the order of the file, 1000 at most.")
    lost_ranges_not_listed: Count
    points_suspected: Count
    suspected: list[SuspectedPoints] = Field(description="In order, 1000 at most.")
    records_lost: int = Field(description="Extended records that do not lie in the file.")


class FilterFacts(_Part):
    """The parameters of the filter; lengths are metres, slopes are rise over run."""

    cell_in_metres: float = Field(description="The side of the cells it worked on.")
    slope: float = Field(description="How steep the ground may be over the width of a window.")
    rough: float = Field(description="How rough it may be besides.")
    widest: float = Field(description="The largest radius of a window.")
    pit: float = Field(description="By which slope a cell has to be lower to be an error.")
    joins: float = Field(description="How close to the surface a cell of it lies,")
    joins_by_slope: float = Field(description="or closer than so many times its slope.")
    close: float = Field(description="How close to the surface a point of the ground lies,")
    close_by_slope: float = Field(description="and so many times its slope besides.")


class Ground(_Part):
    """Which points are ground, and who says so."""

    by: Literal["source", "filter"]
    statement: str
    points: int | None = Field(description="How many on the grid; null if no raster needed it.")
    filter: FilterFacts | None
    assumed: list[str] = Field(description="What the filter took for granted.")
    points_reclassified: Count = Field(description="How many got another class.")


class Stage(_Part):
    """What a stage of the work took."""

    stage: str
    seconds: float
    peak_memory_bytes: int | None = Field(
        description="The sum, over the processes at work in this stage, of the most resident memory "
        "that each has held since it began: at least what all held at any moment of the stage. "
        "Null where it was not measured."
    )


class Effort(_Part):
    """What the work took; it differs from one run to the next."""

    seconds: float
    stages: list[Stage]
    cpu_seconds_by_product: dict[str, float]
    processes: int
    peak_memory_bytes: int = Field(description="The largest of those of the stages.")


class Certificate(_Part):
    """What went in, what came out, and everything that was changed on the way."""

    model_config = ConfigDict(title="Pointmill certificate")

    version: Literal["1.0"] = "1.0"
    source: SourceFacts
    copc: CopcFacts
    agreement: Agreement
    crs: CrsFacts
    salvage: Salvage | None = Field(description="Null where none was asked for.")
    ground: Ground | None = Field(description="Null where nobody had to know.")
    conversion: Conversion
    records: list[Record]
    repairs: list[Repair]
    warnings: list[Note]
    products: dict[str, Product]
    products_left_out: dict[str, str] = Field(description="Why products asked for were not made.")
    details: dict[str, Any] = Field(
        description="What the products say of how they went; their own shape each."
    )
    parameters: dict[str, Any]
    effort: Effort
    software: dict[str, str] = Field(description="Name and version.")


def schema() -> str:
    """The JSON Schema (2020-12) of a certificate, as it stands in `SCHEMA`."""
    stated = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:pointmill:certificate:1",
        **Certificate.model_json_schema(mode="serialization"),
    }
    return json.dumps(stated, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema())

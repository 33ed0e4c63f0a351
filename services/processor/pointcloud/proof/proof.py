"""The two files that speak of all the others: the STAC item and, last, the certificate."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.miller import most_held
from services.processor.pointcloud.products.kind import Cloud
from services.processor.pointcloud.proof.certificate import Account, certify
from services.processor.pointcloud.proof.certificate_form import Effort, FileFacts, Product, Stage
from services.processor.pointcloud.proof.item import describe_item

_READ_BYTES = 1 << 20


class Made(NamedTuple):
    """A file that was made."""

    path: Path
    media_type: str


def write_proof(
    cloud: Cloud, made: Mapping[str, Made], account: Account, out: Path, meter: Meter
) -> dict[str, Made]:
    """Write what speaks of the other files; ends the meter's last stage."""
    held = {**cloud.milled.held, "products": most_held()}
    meter.stage("certify", 1, "Taking checksums")
    source_file = describe_file(cloud.source.sent.path)
    files = {name: _product(one) for name, one in made.items()}
    item = _write_item(cloud, account, source_file, files, out)
    files["item"] = _product(item)
    meter.finish()
    effort = _effort(cloud, account, meter, {**held, "certify": most_held()})
    certificate = certify(cloud, account, source_file, files, effort)
    written = Made(out / "certificate.json", "application/json")
    written.path.write_text(certificate.model_dump_json(indent=1) + "\n")
    return {"item": item, "certificate": written}


def _write_item(
    cloud: Cloud,
    account: Account,
    source_file: FileFacts,
    files: Mapping[str, Product],
    out: Path,
) -> Made:
    boundary = out / files["boundary"].file if "boundary" in files else None
    item = describe_item(cloud, account, source_file, files, boundary)
    written = Made(out / "item.json", "application/geo+json")
    written.path.write_text(json.dumps(item, indent=1, allow_nan=False) + "\n")
    return written


def describe_file(path: Path) -> FileFacts:
    """Size and checksums of a file."""
    sha256 = hashlib.sha256()
    crc32c: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            sha256.update(piece)
            crc32c.update(piece)
    return FileFacts(
        bytes=path.stat().st_size, sha256=sha256.hexdigest(), crc32c=crc32c.digest().hex()
    )


def _product(made: Made) -> Product:
    facts = describe_file(made.path)
    return Product(file=made.path.name, media_type=made.media_type, **facts.model_dump())


def _effort(cloud: Cloud, account: Account, meter: Meter, held: Mapping[str, int]) -> Effort:
    stages = [
        Stage(stage=name, seconds=seconds, peak_memory_bytes=held.get(name))
        for name, seconds in meter.seconds.items()
    ]
    return Effort(
        seconds=round(sum(meter.seconds.values()), 3),
        stages=stages,
        cpu_seconds_by_product=dict(account.cpu_seconds),
        processes=cloud.milled.processes,
        peak_memory_bytes=max(held.values()),
    )

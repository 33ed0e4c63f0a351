"""One mutated file as one attempt of the processor's, and the verdict on how it ended."""

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import laspy
import numpy as np

from services.processor.forks import Forks
from services.processor.pointcloud.products.catalogue import NAMES
from services.processor.runner import Answer, LogTail, Order, run_child
from services.processor.watch import Bounds
from shared.errors import PointmillError
from shared.preflight import REFUSALS
from tests.fuzz.mutations import MUTATIONS
from tests.fuzz.seeds import Seed

SECONDS = 60.0
SALVAGED_SHARE, ALL_PRODUCTS_SHARE = 0.4, 0.3
ENGINE_CODES = frozenset(
    {
        "crs_unknown",
        "decoder_crashed",
        "header_unusable",
        "laz_damaged",
        "nothing_to_salvage",
        "out_of_memory",
        "points_missing",
    }
)
"""What the engine may say of a file, besides the refusals of the preflight."""

_PROBER_BROKEN = "exit status"
"""A prober may die by a signal; one that ends by itself has a bug."""

_BOUNDS = Bounds(memory_bytes=2 << 30, scratch_bytes=4 << 30, processes=72)


@dataclass(frozen=True)
class Case:
    """A mutated file; all of it follows from the run's seed and the number."""

    number: int
    seed: str
    mutation: str
    data: bytes
    suffix: str
    params: dict[str, Any]

    @property
    def name(self) -> str:
        """For people and files."""
        return f"{self.number:06d}-{self.mutation}-{self.seed}".replace(" ", "_").replace("'", "")


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended: `succeeded`, `salvaged` or a code; `finding` says what is wrong with it."""

    outcome: str
    finding: str | None = None


def case(
    run_seed: int, number: int, seeds: list[Seed], all_products: float = ALL_PRODUCTS_SHARE
) -> Case:
    """The case of this number; `all_products` is the share that makes every product."""
    random = np.random.default_rng([run_seed, number])
    seed, other = (seeds[int(random.integers(len(seeds)))] for _ in range(2))
    mutation = str(random.choice(list(MUTATIONS)))
    params: dict[str, Any] = {"salvage": bool(random.random() < SALVAGED_SHARE)}
    params["products"] = list(NAMES) if random.random() < all_products else []
    data = MUTATIONS[mutation](random, seed.data, other.data)
    return Case(number, seed.name, mutation, data, seed.suffix, params)


async def attempt(forks: Forks, case: Case, folder: Path, seconds: float = SECONDS) -> Verdict:
    """Run a case in an empty folder as the processor does, and judge its end."""
    for name in ("in", "out", "scratch"):
        (folder / name).mkdir()
    source = folder / "in" / f"source{case.suffix}"
    source.write_bytes(case.data)
    order = Order(
        kind="pointcloud.ingest",
        params=case.params,
        source=source,
        source_name=f"{case.seed}{case.suffix}",
        out=folder / "out",
        scratch=folder / "scratch",
        memory_bytes=1 << 30,
        workers=2,
    )
    log = LogTail()
    try:
        answer = await run_child(
            forks, order, replace(_BOUNDS, seconds=seconds), on_progress=lambda _: None, log=log
        )
    except PointmillError as error:
        return _judge_failure(error, log)
    except Exception as error:
        return Verdict("runner failed", f"the runner itself failed: {error!r}")
    try:
        return _judge_success(answer, case)
    except Exception as error:
        return Verdict("succeeded", f"what it made cannot be read: {error!r}")


def _judge_failure(error: PointmillError, log: LogTail) -> Verdict:
    if error.code not in ENGINE_CODES | set(REFUSALS):
        said = (log.text() or "").splitlines()[-12:]
        return Verdict(error.code, "\n".join([f"{error.code}: {error.detail}", *said]))
    words = (error.title, error.detail, error.remedy)
    if not all(words) or any("Traceback" in text or "Error(" in text for text in words):
        return Verdict(error.code, f"it does not speak to people: {words}")
    if _PROBER_BROKEN in error.detail:
        return Verdict(error.code, f"{error.detail}\n{log.text()}")
    return Verdict(error.code)


def _judge_success(answer: Answer, case: Case) -> Verdict:
    paths = {product["name"]: Path(product["path"]) for product in answer.products}
    certificate = json.loads(paths["certificate"].read_text())
    points, loss = certificate["copc"]["points"], certificate["salvage"]
    with laspy.CopcReader.open(paths["copc"]) as reader:
        found = len(reader.query()) if points else 0
        stated = reader.header.point_count
    outcome = "salvaged" if loss and (loss["lost"] or loss["refused_as"]) else "succeeded"
    if not found == stated == points == answer.result["points"]:
        return Verdict(outcome, f"{points} points by the certificate, {found} in the product")
    promised = promised_points(case.data)
    if loss is None and points != promised:
        return Verdict(outcome, f"{promised} points are promised, {points} came out: none is lost?")
    if loss is not None and not adds_up(loss, promised, points):
        return Verdict(outcome, f"the account of the loss is wrong: {loss}")
    return Verdict(outcome)


def promised_points(data: bytes) -> int:
    """What the header says, in the field that holds for its version."""
    (legacy,) = struct.unpack_from("<I", data, 107)
    size = struct.unpack_from("<H", data, 94)[0]
    if data[25] >= 4 and size >= 375:
        return int(struct.unpack_from("<Q", data, 247)[0] or legacy)
    return int(legacy)


def adds_up(loss: dict[str, Any], promised: int, points: int) -> bool:
    """Whether what a salvage says of itself fits what the header says and what came out."""
    missing = max(promised - points, 0)
    return bool(
        loss["points_claimed"] == promised
        and loss["points_rescued"] == points
        and loss["points_lost"] >= missing
        and (not missing or loss["lost"])
        and not any(_PROBER_BROKEN in lost["reason"] for lost in loss["lost"])
    )

"""What can still be read of a damaged file, as a sound file beside it; the loss is counted.

Plain records are copied as far as there are whole ones. Compressed points are decoded by a prober
process, which is replaced when a chunk kills it or takes too long. What comes of it is a plain LAS
file, which then goes the way of any other. Nothing here depends on the number of workers.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from services.processor.pointcloud.failures import nothing_to_salvage
from services.processor.pointcloud.las.records import record_dtype
from services.processor.pointcloud.las.source import Source, read_source
from services.processor.pointcloud.meter import Meter, Span
from services.processor.pointcloud.salvage.chunkwise import ChunkwiseRescue
from services.processor.pointcloud.salvage.errands import Batch
from services.processor.pointcloud.salvage.losses import Account
from services.processor.pointcloud.salvage.rescued import RescuedFile
from services.processor.pointcloud.salvage.suspects import fence_of
from shared.errors import TaskFailed
from shared.preflight import SALVAGEABLE, Oddity, Preflight, inspect, most_points

_BLOCK_POINTS = 1 << 18
_SPANS = {"salvage": Span(0.3, 0.75), "mill": Span(0.5, 0.8)}
"""Seconds to get going, and for a million points; the mill itself will know better."""

_CHUNK_TABLE_REBUILT = "by the chunks' own lengths"
_CUT = "the file ends before them"


@dataclass(frozen=True)
class Salvaged:
    """A file that can be milled like any other, and the account of how it came to be.

    Attributes:
        source: the rescued points; its `origin` is the damaged file.
        seen: what the inspection says of the file.
        refused: why it could not be used as it is; None if no header shows the damage.
        how: in which way its points were read.
        records_lost: extended records that do not lie in the file.
    """

    source: Source
    seen: Preflight
    refused: TaskFailed | None
    how: str
    account: Account
    records_lost: int

    def describe(self) -> dict[str, Any]:
        """What the certificate says of it."""
        return {
            "refused_as": self.refused.code if self.refused else None,
            "points_read": self.how,
            "chunk_table_rebuilt": self.how == _CHUNK_TABLE_REBUILT,
            **self.account.describe(),
            "records_lost": self.records_lost,
        }

    def oddities(self) -> list[Oddity]:
        """What the user has to know; nothing for a file that is whole."""
        account, found = self.account, []
        if account.points_lost or account.lost:
            lost = str(account.points_lost or "An unknown number of")
            note = (
                f"{lost} points of the {account.claimed} that the header promises could not be "
                f"read; {account.rescued} were. The certificate says which are missing."
            )
            found.append(Oddity("points_lost", note))
        elif self.refused is not None:
            note = f"The file is damaged ({self.refused.code}), but no point was lost."
            found.append(Oddity("salvaged", note))
        if account.points_suspected:
            reasons = " or ".join(sorted({one.reason for one in account.suspects}))
            note = (
                f"{account.points_suspected} points decode, but may not be what they were: "
                f"{reasons}. They were kept."
            )
            found.append(Oddity("points_suspected", note))
        if self.records_lost > 0:
            note = f"Extended records that do not lie in the file: {self.records_lost}."
            found.append(Oddity("records_lost", note))
        return found


def salvage(path: Path, scratch: Path, memory_bytes: int, meter: Meter) -> Salvaged:
    """Rescue what can be read of the file at `path` into a file of its own in `scratch`.

    Raises:
        TaskFailed: `nothing_to_salvage`; `scratch_full`; whatever the inspection refuses, of this
            file or of the rescued one, for a reason that is not in `SALVAGEABLE`.
    """
    seen, refused = _inspect(path)
    damaged = _without_overlaps(read_source(path))
    most = most_points(damaged.record_length, damaged.size)
    _expect(damaged, most, meter)
    account = Account(damaged.point_count)
    with RescuedFile(scratch / "rescued.las", damaged) as rescued:
        if damaged.compressed:
            rescue = ChunkwiseRescue(damaged, rescued, account, most, memory_bytes, meter)
            how: str = rescue.run()
        else:
            uncounted = refused is not None and refused.code == "points_uncounted"
            count = _whole_records(damaged, uncounted=uncounted)
            _copy_records(damaged, rescued, account, count, meter)
            how = "record by record"
        rescued.finish(account.rescued)
    if not account.rescued and (account.claimed or refused):
        raise nothing_to_salvage(account.lost[0].reason if account.lost else _CUT)
    if seen is None:
        copc = any(record.user_id == "copc" for record in damaged.carried)
        seen = replace(inspect(rescued.path), copc=copc)
    return Salvaged(
        source=replace(read_source(rescued.path), origin=damaged),
        seen=replace(seen, needs_laszip=False),
        refused=refused,
        how=how,
        account=account,
        records_lost=damaged.extended_stated - sum(record.extended for record in damaged.carried),
    )


def _inspect(path: Path) -> tuple[Preflight | None, TaskFailed | None]:
    try:
        return inspect(path), None
    except TaskFailed as refused:
        if refused.code not in SALVAGEABLE:
            raise
        return None, refused


def _expect(damaged: Source, most: int, meter: Meter) -> None:
    """Say how long it may take."""
    points = min(damaged.point_count, most)
    millions = points / 1e6
    spans = {name: Span(span.lead, span.run * millions) for name, span in _SPANS.items()}
    meter.expect(spans)
    meter.stage("salvage", points, "Rescuing what can be read")


def _without_overlaps(damaged: Source) -> Source:
    """The source without extended records that would lie where points are."""
    end = damaged.points_offset
    if not damaged.compressed:
        end += _whole_records(damaged) * damaged.record_length
    kept = (r for r in damaged.carried if not r.extended or r.offset >= end)
    return replace(damaged, carried=tuple(kept))


def _whole_records(damaged: Source, *, uncounted: bool = False) -> int:
    """How many records an uncompressed file holds: no more than it promises, unless `uncounted`."""
    room = damaged.size - damaged.points_offset
    before_extended = damaged.extended_at - damaged.points_offset
    if 0 < before_extended < room and before_extended % damaged.record_length == 0:
        # Whole records up to there: it is the count that is wrong, not where the others begin.
        room = before_extended
    held = max(room, 0) // damaged.record_length
    return held if uncounted else min(held, damaged.point_count)


def _copy_records(
    damaged: Source, rescued: RescuedFile, account: Account, count: int, meter: Meter
) -> None:
    dtype = record_dtype(damaged.point_format, damaged.extra_bytes)
    fence = fence_of(damaged)
    with damaged.path.open("rb") as file:
        file.seek(damaged.points_offset)
        while account.rescued < count:
            size = min(_BLOCK_POINTS, count - account.rescued) * damaged.record_length
            records = np.frombuffer(file.read(size), dtype)
            rescued.append(account.rescued, records.view(np.uint8).data)
            account.keep(Batch(len(records), *(fence.outside(records) if fence else (0, 0, 0))))
            meter.add(len(records))
    account.close(_CUT)

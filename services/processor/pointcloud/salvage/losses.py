"""The account of a salvage: what was rescued, what was lost and why, and what is not to be trusted."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.processor.pointcloud.salvage.errands import Batch

_MOST_RANGES = 1000
"""Ranges that are listed; the sums hold for all of them."""

_OUTSIDE = "they lie outside the header's bounds"
_OTHER_BYTES = "compressing them again gives other bytes than the chunk has"


class Lost(NamedTuple):
    """Points that are gone.

    `first` is the number of the first of them in the source, `points` how many they are; either is
    None where that cannot be known. `place` are the bytes where they lay, if they were there.
    """

    first: int | None
    points: int | None
    place: tuple[int, int] | None
    reason: str


class Suspects(NamedTuple):
    """`points` of the rescued ones from `first` to `last` may not be what they were."""

    first: int
    last: int
    points: int
    reason: str


@dataclass
class Account:
    """Kept in the order of the source, point by point.

    Attributes:
        claimed: how many points the header promises.
        rescued: how many are in the rescued file.
        suspects: numbered as they stand there.
    """

    claimed: int
    rescued: int = 0
    lost: list[Lost] = field(default_factory=list)
    suspects: list[Suspects] = field(default_factory=list)
    _next: int | None = 0
    _same: int = 0
    _other: list[Suspects] = field(default_factory=list)

    def keep(self, batch: Batch) -> None:
        """These points are rescued."""
        if batch.outside:
            first, last = self.rescued + batch.first, self.rescued + batch.last
            self._suspect(Suspects(first, last, batch.outside, _OUTSIDE))
        self.rescued += batch.points
        self._advance(batch.points)

    def keep_chunk(self, batches: Sequence[Batch]) -> None:
        """All points of a chunk are rescued."""
        first = self.rescued
        for batch in batches:
            self.keep(batch)
        if batches[-1].same is False:
            points = self.rescued - first
            self._other.append(Suspects(first, self.rescued - 1, points, _OTHER_BYTES))
        self._same += batches[-1].same is True

    def lose(self, points: int | None, reason: str, place: tuple[int, int] | None = None) -> None:
        """These points, or an unknown number, are lost."""
        loss = Lost(self._next, points, place, reason)
        joined = _join(self.lost[-1], loss) if self.lost else None
        if joined is None:
            self.lost.append(loss)
        else:
            self.lost[-1] = joined
        self._advance(points)

    def close(self, reason: str) -> None:
        """All has been read; whatever is still missing was lost for this reason."""
        if 2 * self.points_suspected > self.rescued and self.suspects[0].first == 0:
            self.suspects = []  # From the first point on: it is the header's bounds that are wrong.
        if len(self._other) == 1 or self._same:
            self.suspects = _all_suspects(self.suspects, self._other)
        # Else it is no damage: the program that wrote the file compresses in a way of its own.
        missing = self.claimed - self.rescued - sum(loss.points or 0 for loss in self.lost)
        unknown = [number for number, loss in enumerate(self.lost) if loss.points is None]
        if missing <= 0:
            # Behind the last point lie the table of chunks and other things that are no points.
            if unknown and unknown[-1] == len(self.lost) - 1:
                self.lost.pop()
        elif len(unknown) == 1:
            self.lost[unknown[0]] = self.lost[unknown[0]]._replace(points=missing)
        elif not unknown:
            self.lose(missing, reason)

    @property
    def points_lost(self) -> int:
        """How many points are known to be lost."""
        return max(self.claimed - self.rescued, sum(loss.points or 0 for loss in self.lost))

    @property
    def points_suspected(self) -> int:
        """How many rescued points may not be what they were."""
        return sum(suspects.points for suspects in self.suspects)

    def describe(self) -> dict[str, Any]:
        """The account as it stands in the certificate."""
        return {
            "points_claimed": self.claimed,
            "points_rescued": self.rescued,
            "points_lost": self.points_lost,
            "lost": list(self._lost_ranges()),
            "lost_ranges_not_listed": max(len(self.lost) - _MOST_RANGES, 0),
            "points_suspected": self.points_suspected,
            "suspected": [
                {"first": first, "last": last, "points": points, "reason": reason}
                for first, last, points, reason in self.suspects[:_MOST_RANGES]
            ],
        }

    def _suspect(self, found: Suspects) -> None:
        before = self.suspects[-1] if self.suspects else None
        if before and before.reason == found.reason and before.last + 1 == found.first:
            found = found._replace(first=before.first, points=before.points + found.points)
            self.suspects.pop()
        self.suspects.append(found)

    def _lost_ranges(self) -> Iterator[dict[str, Any]]:
        for first, points, place, reason in self.lost[:_MOST_RANGES]:
            yield {"first": first, "points": points, "bytes": place, "reason": reason}

    def _advance(self, points: int | None) -> None:
        self._next = None if self._next is None or points is None else self._next + points


def _join(one: Lost, other: Lost) -> Lost | None:
    """Both as one, if they adjoin in the file and were lost for the same reason."""
    if one.place is None or other.place is None or one.reason != other.reason:
        return None
    if one.place[1] != other.place[0]:
        return None
    known = one.points is not None and other.points is not None
    points = (one.points or 0) + (other.points or 0) if known else None
    return Lost(one.first, points, (one.place[0], other.place[1]), one.reason)


def _all_suspects(points: list[Suspects], chunks: list[Suspects]) -> list[Suspects]:
    """Both in order; suspected points of a chunk that is suspected as a whole do not count twice."""
    begins = [chunk.first for chunk in chunks]

    def alone(one: Suspects) -> bool:
        at = bisect_right(begins, one.first) - 1
        return at < 0 or one.first > chunks[at].last

    return sorted([*filter(alone, points), *chunks])

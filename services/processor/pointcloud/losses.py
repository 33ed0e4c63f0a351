"""The account of a salvage: what was rescued, what was lost and why, and what is not to be trusted."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.processor.pointcloud.errands import Batch

_MOST_RANGES = 1000
"""Ranges that are listed; the sums hold for all of them."""


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
    """`points` of the rescued ones between `first` and `last` lie outside the header's bounds."""

    first: int
    last: int
    points: int


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

    def keep(self, batch: Batch) -> None:
        """These points are rescued."""
        if batch.outside:
            first, last = self.rescued + batch.first, self.rescued + batch.last
            before = self.suspects[-1] if self.suspects else None
            if before is not None and before.last + 1 == first:
                found = Suspects(before.first, last, before.points + batch.outside)
                self.suspects[-1] = found
            else:
                self.suspects.append(Suspects(first, last, batch.outside))
        self.rescued += batch.points
        self._advance(batch.points)

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
        """How many rescued points lie outside the header's bounds."""
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
                {"first": first, "last": last, "points": points}
                for first, last, points in self.suspects[:_MOST_RANGES]
            ],
        }

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

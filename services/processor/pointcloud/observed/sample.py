"""Some of a cloud's points, evenly taken: the same ones however the cloud is divided for reading."""

import numpy as np

from services.processor.pointcloud.las.records import Records

_POINTS = 1 << 17


def sample_step(points: int) -> int:
    """Every how many points one is taken, so that about 100 000 give a first impression."""
    return max(-(-points // _POINTS), 1)


class Sample:
    """Every `step`-th point of the source; `start` is the number of the first point to come.

    Nothing is taken if `step` is 0.
    """

    def __init__(self, dtype: np.dtype[np.void], step: int, start: int) -> None:
        self._step = step
        self._next = start
        self._found = [np.empty(0, dtype)]

    def add(self, records: Records) -> None:
        """Take some of the records that come next."""
        if self._step:
            self._found.append(records[-self._next % self._step :: self._step].copy())
        self._next += len(records)

    def taken(self) -> Records:
        """What has been taken."""
        return np.concatenate(self._found)

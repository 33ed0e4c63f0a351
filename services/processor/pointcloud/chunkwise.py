"""Compressed points of a damaged file, decoded chunk by chunk, or in order if chunks cannot be found.

A chunk counts only if all of it decodes: what a decoder says behind a wrong bit is made up. Read in
order, what was decoded before the first error counts, point by point.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import product

from services.processor.pointcloud.decoder import NEWEST_ITEM_OF_LAZRS
from services.processor.pointcloud.errands import Batch, Daring, Errand, Site
from services.processor.pointcloud.fragments import Fragment, How, find_fragments
from services.processor.pointcloud.layers import Compression, head_reader, read_compression
from services.processor.pointcloud.losses import Account
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.probing import DamageFound, Probers
from services.processor.pointcloud.rescued import RescuedFile
from services.processor.pointcloud.source import Source
from services.processor.pointcloud.suspects import fence_of

_BLOCK_POINTS = 1 << 18
_FINE_STEPS = (256, 1)
_POINTER_BYTES = 8

_NO_MORE = "the file holds no more points"
_CUT = "the file ends before them"
_GAP = "no chunk can be made out there"
_TOO_MANY = "the file would unpack to more points than a file of its size may"
_LAYERS_TOO_LONG = "its layers are longer than the chunk"
_PLACE_LOST = "the next chunk does not begin where it should: something before it is damaged"


@dataclass
class ChunkwiseRescue:
    """The rescue of one LAZ file.

    Attributes:
        damaged: the file.
        rescued: where the points go.
        account: where they are counted.
        most: how many points a file of its size may unpack to.
        memory_bytes: what a prober may allocate.
    """

    damaged: Source
    rescued: RescuedFile
    account: Account
    most: int
    memory_bytes: int
    meter: Meter

    def run(self) -> How:
        """Rescue what decodes. Raises TaskFailed if it cannot be written."""
        compression = read_compression(self.damaged)
        found = find_fragments(self.damaged, compression)
        site = Site(
            self.damaged, compression, fence_of(self.damaged), self.rescued.path, self.memory_bytes
        )
        probers = Probers(site)
        try:
            if found.how == "in order":
                self._in_order(probers, compression)
            for fragment in found.fragments:
                self._rescue_chunk(probers, compression, fragment)
        finally:
            probers.close()
        self.account.close(_NO_MORE)
        return found.how

    def _rescue_chunk(self, probers: Probers, compression: Compression, fragment: Fragment) -> None:
        reason = None if fragment.counts else _GAP
        if not fragment.counts and fragment.end == self.damaged.size:
            reason = _CUT
        # A decoder would allocate whatever the head says.
        if fragment.counts and compression.layered and not self._layers_fit(compression, fragment):
            reason = _LAYERS_TOO_LONG
        for errand in self._errands(compression, fragment) if reason is None else ():
            try:
                batches = list(probers.send(errand))
            except DamageFound as damage:
                # What is said of the likeliest number of points is the most useful.
                reason = reason or str(damage)
                continue
            for batch in batches:
                self._keep(batch)
            return
        points = fragment.counts[0] if fragment.counts else None
        self.account.lose(points, reason or _TOO_MANY, (fragment.start, fragment.end))
        self.meter.add(points or 0)

    def _errands(self, compression: Compression, fragment: Fragment) -> Iterator[Errand]:
        """The ways to decode a chunk, the likeliest first."""
        decoders: tuple[Daring, ...] = ("lazrs", "laszip")
        if compression.item_version > NEWEST_ITEM_OF_LAZRS:
            decoders = ("laszip",)
        for points, decoder in product(fragment.counts, decoders):
            if self.account.rescued + points <= self.most:
                yield Errand(
                    decoder=decoder,
                    start=fragment.start,
                    end=fragment.end,
                    points=points,
                    skip=0,
                    step=min(points, _BLOCK_POINTS),
                    write_at=self.rescued.place_of(self.account.rescued),
                )

    def _layers_fit(self, compression: Compression, fragment: Fragment) -> bool:
        with self.damaged.path.open("rb") as file:
            head = head_reader(self.damaged, compression)(file, fragment.start)
        return head is not None and fragment.start + head.length <= fragment.end

    def _in_order(self, probers: Probers, compression: Compression) -> None:
        """Decode from the first point on as far as it goes."""
        step = min(compression.chunk_points or _BLOCK_POINTS, _BLOCK_POINTS)
        reason = _NO_MORE
        for size in (step, *_FINE_STEPS):
            try:
                if self._follow(probers, self._errand_in_order(compression, size), compression):
                    break
                reason = _PLACE_LOST
                break
            except DamageFound as damage:
                reason = str(damage)
                if not damage.at_end:
                    break
                reason = _CUT
        self.account.close(reason)

    def _follow(self, probers: Probers, errand: Errand, compression: Compression) -> bool:
        """Keep what the errand brings; whether each chunk began where it should.

        Each begins with a whole record, and nonsense there shows that the place is wrong; not so
        where the bounds do not even hold the very first point.
        """
        telling = errand.step == compression.chunk_points
        with closing(probers.send(errand)) as batches:
            for batch in batches:
                begins_outside = bool(batch.outside) and batch.first == 0
                if begins_outside and telling and self.account.rescued:
                    return False
                telling = telling and not begins_outside
                self._keep(batch)
        return True

    def _errand_in_order(self, compression: Compression, step: int) -> Errand:
        damaged, account = self.damaged, self.account
        return Errand(
            decoder="laszip",
            start=damaged.points_offset + (0 if compression.pointwise else _POINTER_BYTES),
            end=damaged.size,
            points=min(damaged.point_count or self.most, self.most),
            skip=account.rescued,
            step=step,
            write_at=self.rescued.place_of(account.rescued),
        )

    def _keep(self, batch: Batch) -> None:
        self.account.keep(batch)
        self.meter.add(batch.points)

"""Compressed points of a damaged file, decoded chunk by chunk, or in order if chunks cannot be found.

A chunk counts only if all of it decodes: what a decoder says behind a wrong bit is made up. Read in
order, what was decoded before the first error counts, point by point.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import product

from services.processor.pointcloud.las.decoder import NEWEST_ITEM_OF_LAZRS
from services.processor.pointcloud.las.layers import Compression, head_reader, read_compression
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.salvage.errands import Batch, Daring, Errand, Site
from services.processor.pointcloud.salvage.fragments import Fragment, How, find_fragments
from services.processor.pointcloud.salvage.losses import Account
from services.processor.pointcloud.salvage.probing import DamageFound, Probers
from services.processor.pointcloud.salvage.rescued import RescuedFile
from services.processor.pointcloud.salvage.suspects import fence_of

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
        reason = _NO_MORE
        with closing(Probers(site)) as probers:
            if found.how == "in order":
                reason = self._in_order(probers, compression)
            for fragment in found.fragments:
                self._rescue_chunk(probers, compression, fragment)
        self.account.close(reason)
        return found.how

    def _rescue_chunk(self, probers: Probers, compression: Compression, fragment: Fragment) -> None:
        expected = fragment.counts[0] if fragment.counts else None
        try:
            self._check(compression, fragment)
            self.account.keep_chunk(self._decode_chunk(probers, compression, fragment))
        except DamageFound as damage:
            self.account.lose(expected, str(damage), (fragment.start, fragment.end))
        self.meter.add(expected or 0)

    def _check(self, compression: Compression, fragment: Fragment) -> None:
        """Raise DamageFound for what a decoder must not even be shown."""
        if not fragment.counts:
            raise DamageFound(_CUT if fragment.end == self.damaged.size else _GAP)
        if self.account.rescued + min(fragment.counts) > self.most:
            raise DamageFound(_TOO_MANY)
        if compression.layered:
            with self.damaged.path.open("rb") as file:
                head = head_reader(self.damaged, compression)(file, fragment.start)
            # A decoder would allocate whatever the head says.
            if head is None or fragment.start + head.length > fragment.end:
                raise DamageFound(_LAYERS_TOO_LONG)

    def _decode_chunk(
        self, probers: Probers, compression: Compression, fragment: Fragment
    ) -> list[Batch]:
        """The points of a chunk, written. Raises DamageFound if no way to decode it works."""
        damages, doubtful = [], None
        for errand in self._errands(compression, fragment):
            if doubtful is not None and errand.decoder != doubtful.decoder:
                continue
            try:
                batches = list(probers.send(errand))
            except DamageFound as damage:
                damages.append(damage)
                continue
            if batches[-1].same is not False:
                return batches
            # Another number of points may do better.
            doubtful = doubtful or errand
        if doubtful is not None:
            return list(probers.send(doubtful))
        # What is said of the likeliest number of points is the most useful.
        raise damages[0]

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

    def _in_order(self, probers: Probers, compression: Compression) -> str:
        """Decode from the first point on as far as it goes, and say why no further."""
        step = min(compression.chunk_points or _BLOCK_POINTS, _BLOCK_POINTS)
        for size in (step, *_FINE_STEPS):
            errand = self._errand_in_order(compression, size)
            try:
                return _NO_MORE if self._follow(probers, errand, compression) else _PLACE_LOST
            except DamageFound as damage:
                # Where the file is cut, points count one by one; elsewhere the chunk is wrong.
                if not damage.at_end:
                    return str(damage)
        return _CUT

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
                self.account.keep(batch)
                self.meter.add(batch.points)
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

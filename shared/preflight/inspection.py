"""The inspection: header, records, points, in the order that makes each step safe for the next."""

from pathlib import Path

from shared.preflight.chunks import check_chunks
from shared.preflight.crs import stated_crs
from shared.preflight.header import read_header
from shared.preflight.laszip import read_compression
from shared.preflight.model import Laszip, Oddity, Preflight
from shared.preflight.oddities import find_oddities
from shared.preflight.points import (
    FREE_EXPANSION_BYTES,
    MAX_EXPANSION,
    check_limits,
    check_uncompressed,
)
from shared.preflight.reading import Reading
from shared.preflight.records import read_evlrs, read_vlrs
from shared.preflight.source import Source


def inspect(
    path: Path,
    *,
    max_points: int = 1 << 36,
    max_vlrs: int = 4096,
    max_expansion: int = MAX_EXPANSION,
    free_expansion_bytes: int = FREE_EXPANSION_BYTES,
) -> Preflight:
    """Say what a point-cloud file holds, or refuse it; reads at most 1 MiB of it.

    Args:
        path: a LAS, LAZ or COPC file.
        max_points: most points a file may claim.
        max_vlrs: most records, and most extended records, that are read. 4096 of both take half of
            the 1 MiB and are ten times what the oddest real file has.
        max_expansion: most bytes of decoded points per byte of file. No file of the test corpus
            exceeds 30; made-up bombs reach 3000.
        free_expansion_bytes: decoded size up to which the ratio does not matter: a small file of
            a million identical points is harmless.

    Raises:
        TaskFailed: the file cannot be used; see `REFUSALS` for the codes.
        OSError: the file cannot be read.
    """
    with Source(path) as source:
        return inspect_source(
            source,
            max_points=max_points,
            max_vlrs=max_vlrs,
            max_expansion=max_expansion,
            free_expansion_bytes=free_expansion_bytes,
        )


def inspect_source(
    source: Source,
    *,
    max_points: int = 1 << 36,
    max_vlrs: int = 4096,
    max_expansion: int = MAX_EXPANSION,
    free_expansion_bytes: int = FREE_EXPANSION_BYTES,
) -> Preflight:
    """`inspect` for a file that is open already, for who wants to know how much of it was read."""
    header = read_header(source)
    vlrs = read_vlrs(source, header, max_vlrs)
    compression, table, unclaimed = None, None, 0
    if header.compressed:
        compression = read_compression(source, header, vlrs)
        table = check_chunks(source, header, compression)
    else:
        unclaimed = check_uncompressed(source, header)
    # Now the count is what the file really has, as far as a header can tell.
    check_limits(
        header,
        source.size,
        max_points=max_points,
        max_expansion=max_expansion,
        free_expansion_bytes=free_expansion_bytes,
    )
    evlrs = read_evlrs(source, header, max_vlrs)
    crs = stated_crs(source, header, vlrs + evlrs)
    reading = Reading(header, vlrs, evlrs, compression, table, unclaimed, crs)
    return _preflight(reading, source.size, find_oddities(source, reading))


def _preflight(reading: Reading, size: int, warnings: tuple[Oddity, ...]) -> Preflight:
    header = reading.header
    return Preflight(
        version=header.version,
        point_format=header.point_format,
        record_length=header.record_length,
        point_count=header.point_count,
        file_bytes=size,
        laszip=_laszip(reading),
        needs_laszip=reading.needs_laszip,
        copc=reading.copc_info is not None,
        point_offset=header.point_offset,
        header_size=header.header_size,
        global_encoding=header.global_encoding,
        scales=header.scales,
        offsets=header.offsets,
        mins=header.mins,
        maxs=header.maxs,
        points_by_return=header.points_by_return,
        vlrs=reading.vlrs,
        evlrs=reading.evlrs,
        extra_bytes=header.extra_bytes,
        system_identifier=header.system_identifier,
        generating_software=header.generating_software,
        created=header.created,
        crs=reading.crs,
        warnings=warnings,
    )


def _laszip(reading: Reading) -> Laszip | None:
    compression = reading.compression
    if compression is None or reading.table is None:
        return None
    fixed = compression.compressor != 1 and not compression.variable
    return Laszip(
        compressor=compression.compressor,
        chunk_size=compression.chunk_size if fixed else None,
        chunk_count=reading.table.count,
        item_version=compression.item_version,
    )

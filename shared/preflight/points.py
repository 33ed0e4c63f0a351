"""Whether the points the header promises are there: uncompressed files, and limits for all."""

from shared.preflight.header import Header
from shared.preflight.refusals import refusal
from shared.preflight.source import Source

MAX_EXPANSION = 500
"""Most bytes of decoded points per byte of file."""
FREE_EXPANSION_BYTES = 64 << 20
"""Decoded size up to which the ratio does not matter."""


def most_points(record_length: int, size: int) -> int:
    """How many points of this length a file of this size may unpack to by the usual limits."""
    return max(FREE_EXPANSION_BYTES, MAX_EXPANSION * size) // record_length


def check_limits(
    header: Header,
    size: int,
    *,
    max_points: int,
    max_expansion: int,
    free_expansion_bytes: int,
) -> None:
    """Refuse a file that would make more work than a point cloud of its size may make.

    Raises:
        TaskFailed: too_many_points or expansion_too_large.
    """
    if header.point_count > max_points:
        raise refusal(
            "too_many_points",
            f"The header says {header.point_count} points; the limit is {max_points}.",
        )
    decoded = header.point_count * header.record_length
    if decoded > max(free_expansion_bytes, max_expansion * size):
        raise refusal(
            "expansion_too_large",
            f"{size} bytes would unpack to {decoded}, {decoded // size} times as many; "
            f"the limit is {max_expansion} times.",
        )


def check_uncompressed(source: Source, header: Header) -> int:
    """Compare the promised points with the file; return how many bytes behind them nobody claims.

    Raises:
        TaskFailed: points_missing, or points_uncounted where whole records follow the last one.
    """
    if header.points_end > source.size:
        held = (source.size - header.point_offset) // header.record_length
        raise refusal(
            "points_missing",
            f"The header promises {header.point_count} points, the file holds {held}.",
        )
    claims = (header.evlr_offset if header.evlr_count else 0, header.waveform_offset, source.size)
    end = min(place for place in claims if place >= header.points_end)
    unclaimed = end - header.points_end
    if unclaimed >= header.record_length and unclaimed % header.record_length == 0:
        record = source.at(header.points_end, header.record_length)
        if record.strip(b"\0"):
            raise refusal(
                "points_uncounted",
                f"The header promises {header.point_count} points, the file has room for "
                f"{header.point_count + unclaimed // header.record_length}.",
            )
    return unclaimed

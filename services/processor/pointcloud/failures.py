"""Why a point cloud cannot be milled: every code the engine gives, with its sentence and remedy."""

import errno
import signal

from shared.errors import TaskFailed

SEND_AGAIN = "Export the file again from its source, or upload it again if it was cut on its way."
SALVAGE = "Or order the ingest again with salvage=true to keep what can still be read."


def header_unusable(detail: str) -> TaskFailed:
    """The header or its records cannot be followed."""
    return TaskFailed("header_unusable", "The file's header cannot be used", detail, SEND_AGAIN)


def points_missing(read: int, promised: int) -> TaskFailed:
    """Fewer points than the header promises."""
    return TaskFailed(
        "points_missing",
        "The file holds fewer points than its header promises",
        f"The header promises {promised} points; only {read} can be read.",
        f"{SEND_AGAIN} {SALVAGE}",
    )


def laz_damaged(first: int, last: int, reason: str) -> TaskFailed:
    """The compressed points do not decode. `first` and `last` bound the points in question."""
    return TaskFailed(
        "laz_damaged",
        "The compressed points cannot be decoded",
        f"Decoding failed between points {first} and {last}: {reason}",
        f"{SEND_AGAIN} {SALVAGE}",
    )


def nothing_to_salvage(reason: str) -> TaskFailed:
    """A salvage has found no point at all. `reason` says why the first is lost."""
    return TaskFailed(
        "nothing_to_salvage",
        "No point of the file can be rescued",
        f"All its points are lost: {reason}.",
        SEND_AGAIN,
    )


def decoder_crashed(returncode: int | None) -> TaskFailed:
    """A process of ours died while it worked on the file."""
    ending = f"exit status {returncode}"
    if returncode is not None and returncode < 0:
        ending = f"signal {signal.Signals(-returncode).name}"
    return TaskFailed(
        "decoder_crashed",
        "A decoder process died on this file",
        f"A process that worked on the points ended with {ending}.",
        f"The file is probably damaged. {SEND_AGAIN} {SALVAGE}",
    )


def out_of_memory(doing: str) -> TaskFailed:
    """The memory limit was met."""
    return TaskFailed(
        "out_of_memory",
        "The work needs more memory than it may use",
        f"Memory ran out while {doing}.",
        "The file may be damaged. If it is not, ask the operators for a higher memory limit.",
    )


def scratch_full(needed: int, free: int) -> TaskFailed:
    """Not enough room for what the engine writes on its way."""
    return TaskFailed(
        "scratch_full",
        "There is not enough scratch space",
        f"The work needs about {needed} bytes of scratch space; {free} are free.",
        "Try again later, or ask the operators for more scratch space.",
    )


def writing_failed(error: OSError) -> TaskFailed:
    """What a failed write means to the person who waits for the result."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return TaskFailed(
            "scratch_full",
            "There is not enough scratch space",
            "The disk, or a limit on it, was full before the work was done.",
            "Try again later, or ask the operators for more scratch space.",
        )
    return TaskFailed(
        "scratch_failed",
        "The scratch space cannot be used",
        f"Reading or writing scratch files failed: {error.strerror}.",
        "Try again; if it stays, tell the operators the time and the code.",
    )


def crs_unknown(text: str) -> TaskFailed:
    """The coordinate system that the caller named does not exist."""
    return TaskFailed(
        "crs_unknown",
        "The coordinate system is unknown",
        f"{text[:200]!r} names no coordinate system that PROJ knows.",
        "Give an EPSG code such as EPSG:25832, or a complete WKT.",
    )

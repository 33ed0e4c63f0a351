"""`pointmill check`: what the server's first look would say of files, here and without a server.

It is the same inspection, so that what is refused here would be refused there, a transfer later.
"""

import math
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.gateway.client.api import Document
from services.gateway.client.calls import Call
from services.gateway.client.failures import Failure
from services.gateway.client.findings import show_checks
from shared.errors import TaskFailed
from shared.preflight import Preflight, Source, inspect_source

_GPS_TIME_FORMATS = frozenset({1, 3, 4, 5, 6, 7, 8, 9, 10})


@dataclass
class Check:
    """What one file says; its fields are those of the document that `--json` prints.

    Attributes:
        file: its name as it was given.
        error: why it would be refused; None if it can be milled.
        warnings: what is odd about it, each with a code and a message.
        facts: what its header says; None if that cannot be believed.
        bytes_read, seconds: what the look at it took.
    """

    file: str
    error: Document | None = None
    warnings: list[Document] = field(default_factory=list)
    facts: Document | None = None
    bytes_read: int = 0
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """`refused`, `warnings` or `fine`."""
        if self.error is not None:
            return "refused"
        return "warnings" if self.warnings else "fine"

    def to_dict(self) -> dict[str, Any]:
        """The file's part of the JSON document."""
        return {
            "file": self.file,
            "verdict": self.verdict,
            "error": self.error,
            "warnings": self.warnings,
            "facts": self.facts,
            "bytes_read": self.bytes_read,
            "seconds": round(self.seconds, 6),
        }


async def check(call: Call) -> int:
    """Look at the files and print what was found; status 1 if one of them would be refused."""
    checks = [check_file(file) for file in call.options.files]
    if call.options.json:
        documents = [one.to_dict() for one in checks]
        call.print_json(documents[0] if len(documents) == 1 else documents)
    else:
        show_checks(call.out, checks)
    return 1 if any(one.error is not None for one in checks) else 0


def check_file(file: str) -> Check:
    """Look at one file. It never raises: what cannot be read is refused with its reason."""
    one, started = Check(file), time.perf_counter()
    try:
        _refuse_special(Path(file))
        with Source(Path(file)) as source:
            try:
                found = inspect_source(source)
            finally:
                one.bytes_read = source.bytes_read
    except (TaskFailed, Failure) as refusal:
        one.error = refusal.to_dict()
    except OSError as error:
        one.error = _unreadable(file, error.strerror or str(error)).to_dict()
    else:
        one.facts = _facts(found)
        one.warnings = [
            {"code": oddity.code, "message": oddity.message} for oddity in found.warnings
        ]
    one.seconds = time.perf_counter() - started
    return one


def _refuse_special(path: Path) -> None:
    """Opening a pipe would wait for its other end, for ever perhaps."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise _unreadable(str(path), "it is a folder", "Name the files in it, folder/*.laz.")
    if not stat.S_ISREG(mode):
        raise _unreadable(
            str(path),
            "it is a pipe, a socket or a device",
            "Save it to a file first: a point cloud is read at many places.",
        )


def _unreadable(
    file: str, why: str, remedy: str = "Name a file that exists and that you may read."
) -> Failure:
    return Failure("file_unreadable", "The file cannot be read", f"{file}: {why}.", remedy)


def _facts(found: Preflight) -> Document:
    """What the header says, in plain JSON; `created` and `bounds` are null where they are none."""
    crs = found.crs
    timed = found.point_format in _GPS_TIME_FORMATS
    return {
        "format": "COPC" if found.copc else "LAZ" if found.compressed else "LAS",
        "version": ".".join(map(str, found.version)),
        "point_format": found.point_format,
        "record_length": found.record_length,
        "extra_bytes": found.extra_bytes,
        "points": found.point_count,
        "bytes": found.file_bytes,
        "bounds": _bounds(found),
        "scales": list(found.scales),
        "crs": None
        if crs is None
        else {
            "origin": crs.origin,
            "name": crs.name,
            "epsg": crs.epsg,
            "vertical_name": crs.vertical_name,
            "vertical_epsg": crs.vertical_epsg,
        },
        "gps_time": ("standard" if found.global_encoding & 1 else "week") if timed else None,
        "chunks": found.laszip.chunk_count if found.laszip else None,
        "chunk_size": found.laszip.chunk_size if found.laszip else None,
        "records": [_record(vlr) for vlr in found.vlrs + found.evlrs],
        "system": found.system_identifier,
        "software": found.generating_software,
        "created": found.created.isoformat() if found.created else None,
    }


def _record(vlr: Any) -> Document:
    return {"user_id": vlr.user_id, "record_id": vlr.record_id, "bytes": vlr.length}


def _bounds(found: Preflight) -> dict[str, Sequence[float]] | None:
    ends = (*found.mins, *found.maxs)
    if not found.point_count or not all(map(math.isfinite, ends)):
        return None
    return {"min": list(found.mins), "max": list(found.maxs)}

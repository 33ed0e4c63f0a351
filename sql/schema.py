"""Write `schema.sql`, the schema as it stands: `MIGRATE_DATABASE_URL=… python -m sql.schema`.

Made by pg_dump of the running server's own version; comments and settings are left out, so that
the file says only what the migrations have made.
"""

import asyncio
import os
import shutil
import sys
from pathlib import Path

SCHEMA = Path(__file__).parent / "schema.sql"
DUMP_SECONDS = 30.0
NOISE = ("--", "SET ", "SELECT pg_catalog.set_config", "\\")


async def dump(url: str) -> str:
    """The schema of the database as SQL.

    Raises:
        RuntimeError: pg_dump is missing or fails.
    """
    process = await asyncio.create_subprocess_exec(
        _pg_dump(), "--schema-only", "--no-owner", "--no-privileges", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(DUMP_SECONDS):
        out, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(errors.decode())
    kept: list[str] = []
    for line in out.decode().splitlines():
        if line.startswith(NOISE) or (not line and (not kept or not kept[-1])):
            continue
        kept.append(line)
    return "\n".join(kept).strip() + "\n"


def _pg_dump() -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"))
    path = str(found[-1]) if found else shutil.which("pg_dump")
    if path is None:
        raise RuntimeError("pg_dump is not installed.")
    return path


if __name__ == "__main__":
    SCHEMA.write_text(asyncio.run(dump(os.environ["MIGRATE_DATABASE_URL"])))
    sys.stdout.write(f"wrote {SCHEMA.name}\n")

"""Run the task as an attempt does, in a process of its own that is measured from outside.

    python -m tests.bench.engine.ingest SOURCE FOLDER WORKERS MEMORY_BYTES PARAMS_JSON

Leaves the products in FOLDER/out.
"""

import json
import sys
from pathlib import Path

from services.processor.task import Work
from services.processor.tasks.pointcloud_ingest import TASK


def main() -> None:
    """Do what the command line says."""
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    work = Work(
        source=source,
        source_name=source.name,
        out=folder / "out",
        scratch=folder / "scratch",
        memory_bytes=int(sys.argv[4]),
        workers=int(sys.argv[3]),
        progress=lambda *_: None,
        log=lambda _: None,
    )
    TASK.run(TASK.params.model_validate(json.loads(sys.argv[5])), work)


if __name__ == "__main__":
    main()

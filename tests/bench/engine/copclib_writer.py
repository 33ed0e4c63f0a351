"""The same cloud through copclib, as a user of it would write it; without the hardest part.

    python -m tests.bench.engine.copclib_writer SOURCE COPC RAW OUT

copclib writes the container and has no octree builder. So this decodes the source with laspy a
million points at a time, as it would have to, and lets the points go; takes the octree of the
engine's product COPC as a gift, keys and records (RAW, see `floor.write_raw`); and has copclib
compress every node and write the file OUT. One process: copclib holds Python's lock.
"""

import sys
from pathlib import Path

import copclib
import laspy
import numpy as np

BATCH = 1_000_000


def write_with_copclib(copc: Path, raw: Path, out: Path) -> int:
    """Write the nodes of a COPC file anew; says how many points they had."""
    reader = copclib.FileReader(str(copc))
    nodes = sorted(reader.GetAllNodes(), key=lambda node: int(node.offset))
    writer = copclib.FileWriter(str(out), copclib.CopcConfigWriter(reader.copc_config))
    rows, at, written = np.memmap(raw, np.int8, "r"), 0, 0
    for node in nodes:
        size = node.point_count * reader.copc_config.las_header.point_record_length
        if size:
            writer.AddNode(node.key, copclib.VectorChar(rows[at : at + size]))
        at, written = at + size, written + node.point_count
    writer.Close()
    return written


def main() -> None:
    """Do what the command line says."""
    source, copc, raw, out = map(Path, sys.argv[1:])
    with laspy.open(source) as cloud:
        decoded = sum(len(points) for points in cloud.chunk_iterator(BATCH))
    sys.stdout.write(f"{decoded} {write_with_copclib(copc, raw, out)}\n")


if __name__ == "__main__":
    main()

"""Why a file is refused: one table of stable code, title and remedy."""

from dataclasses import dataclass

from shared.errors import TaskFailed


@dataclass(frozen=True)
class Refusal:
    """What is the same for every file refused with one code."""

    title: str
    remedy: str


_SALVAGE = "Or order the ingest again with salvage=true to keep what can still be read."
_AGAIN = "The file was probably cut off in transit: copy or export it again and upload that."
_EXPORT = "Export the file again from the program that made it; its header is not usable as it is."
_AGAIN_OR_SALVAGE = f"{_AGAIN} {_SALVAGE}"
_REPAIR = (
    "Write the file again with a current LAS tool, which corrects the header, and upload that."
)
_RECOMPRESS = (
    "Compress the original LAS file again with a current LASzip, or upload the LAS file itself."
)

REFUSALS: dict[str, Refusal] = {
    # What it is not.
    "empty_file": Refusal("The file is empty", _AGAIN),
    "not_a_las_file": Refusal(
        "The file is not a LAS or LAZ point cloud", "Upload a .las, .laz or .copc.laz file."
    ),
    "well_log_file": Refusal(
        "The file is a well log, not a point cloud",
        "Well logs share the ending .las with point clouds and nothing else; upload a lidar file.",
    ),
    "git_lfs_pointer": Refusal(
        "The file is a Git LFS pointer, not the point cloud itself",
        "Run `git lfs pull` where you cloned the repository and upload the real file.",
    ),
    # The public header block.
    "truncated_header": Refusal("The file ends inside its header", _AGAIN),
    "unsupported_version": Refusal(
        "This LAS version does not exist or is not supported",
        "Convert the file to LAS 1.0 to 1.5; if it claims to be one, it is damaged.",
    ),
    "header_size_wrong": Refusal("The header states an impossible size of itself", _EXPORT),
    "point_format_unsupported": Refusal(
        "The point format does not exist or is not supported", "Use a point format from 0 to 10."
    ),
    "point_format_too_new": Refusal(
        "The LAS version does not have this point format",
        "Point formats 6 to 10 came with LAS 1.4: write the file again as LAS 1.4.",
    ),
    "point_format_doubtful": Refusal(
        "The point format contradicts the rest of the header", _EXPORT
    ),
    "record_length_wrong": Refusal("Point records are shorter than their format", _EXPORT),
    "point_offset_wrong": Refusal("The points do not start inside the file", _AGAIN),
    "bad_scale": Refusal("A coordinate scale is not usable", _REPAIR),
    "bad_offset": Refusal("A coordinate offset is not usable", _REPAIR),
    "bad_bounds": Refusal("The bounding box in the header is not usable", _REPAIR),
    # Variable length records.
    "too_many_vlrs": Refusal(
        "The header counts more variable length records than we read",
        "If the file really has that many, remove those you do not need; otherwise it is damaged.",
    ),
    "vlr_outside_file": Refusal("A variable length record does not fit into the file", _EXPORT),
    "vlrs_uncounted": Refusal("The header hides variable length records", _REPAIR),
    "evlr_outside_file": Refusal(
        "An extended variable length record does not fit into the file", _AGAIN_OR_SALVAGE
    ),
    # The points.
    "points_missing": Refusal(
        "The file holds fewer points than its header says", _AGAIN_OR_SALVAGE
    ),
    "points_uncounted": Refusal(
        "The file holds more points than its header says",
        "The program that wrote it stopped before it finished the header: export the file again. "
        + _SALVAGE,
    ),
    "too_many_points": Refusal(
        "The file has more points than the limit", "Split the file into tiles."
    ),
    "expansion_too_large": Refusal(
        "The file would unpack to far more data than a point cloud of its size holds",
        "Upload it uncompressed or in smaller parts if the points are real.",
    ),
    # Compressed points.
    "laszip_vlr_missing": Refusal("The points are compressed, but not said how", _RECOMPRESS),
    "laszip_vlr_damaged": Refusal("The description of the compression is damaged", _RECOMPRESS),
    "laz_compressor_unsupported": Refusal(
        "The points are compressed in an unknown way", _RECOMPRESS
    ),
    "laz_items_mismatch": Refusal(
        "The compressed items do not make up the point format", _RECOMPRESS
    ),
    "laz_truncated": Refusal("The compressed points are cut off", _AGAIN_OR_SALVAGE),
    "chunk_table_missing": Refusal(
        "The table of compressed chunks was never written", f"{_RECOMPRESS} {_SALVAGE}"
    ),
    "chunk_table_damaged": Refusal("The table of compressed chunks is damaged", _AGAIN_OR_SALVAGE),
    "chunk_count_mismatch": Refusal(
        "The compressed chunks and the header disagree on the number of points",
        f"{_REPAIR} {_SALVAGE}",
    ),
    "chunk_damaged": Refusal("A compressed chunk is damaged", _AGAIN_OR_SALVAGE),
}

SALVAGEABLE = frozenset(
    {
        "points_missing",
        "points_uncounted",
        "laz_truncated",
        "chunk_table_missing",
        "chunk_table_damaged",
        "chunk_count_mismatch",
        "chunk_damaged",
        "evlr_outside_file",
    }
)
"""Refusals of a file of which a part may still be read; whoever asks for a salvage gets that part."""


def refusal(code: str, detail: str) -> TaskFailed:
    """The error to raise for a file that is refused with `code`; `detail` says what was found."""
    entry = REFUSALS[code]
    return TaskFailed(code, entry.title, detail, entry.remedy)

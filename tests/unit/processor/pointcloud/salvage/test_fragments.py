"""Finding chunks: the table and the chunks themselves say the same, and damage costs what it hits."""

import io
import struct
from pathlib import Path

import lazrs
import pytest

from services.processor.pointcloud.las.layers import read_compression
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.salvage.fragments import Fragment, find_fragments
from tests.fixtures.honest import chunked, copc, field, las, put, with_fields

POINTS, CHUNK = 1200, 500


def found_in(data: bytes, folder: Path) -> tuple[str, list[Fragment]]:
    path = folder / "cloud.laz"
    path.write_bytes(data)
    source = read_source(path)
    found = find_fragments(source, read_compression(source))
    return found.how, list(found.fragments)


def without_table(data: bytes) -> bytes:
    """Cut before the last byte, which is one of the table."""
    return put(data, field(data, "point_offset"), "q", 1 << 50)[:-1]


@pytest.mark.parametrize("point_format", range(6, 11))
def test_layered_chunks_say_themselves_what_the_table_says(
    point_format: int, tmp_path: Path
) -> None:
    data = chunked(point_format, POINTS, CHUNK)
    by_table = found_in(data, tmp_path)
    walked = found_in(without_table(data), tmp_path)
    assert (by_table[0], walked[0]) == ("by its table", "by the chunks' own lengths")
    assert [fragment.counts[0] for fragment in by_table[1]] == [500, 500, 200]
    # What is left of the table is too short for a chunk.
    assert [(f.start, f.end, f.counts[0]) for f in walked[1]] == [
        (f.start, f.end, f.counts[0]) for f in by_table[1]
    ]


def test_chunks_of_different_sizes_are_walked_as_well(tmp_path: Path) -> None:
    """Those of a COPC; behind them lie its table and its hierarchy."""
    by_table = found_in(copc(), tmp_path)
    data = put(copc(), struct.unpack_from("<q", copc(), field(copc(), "point_offset"))[0], "I", 7)
    assert found_in(data, tmp_path)[1] == by_table[1]


@pytest.mark.parametrize("point_format", range(6))
def test_interleaved_chunks_are_not_guessed(point_format: int, tmp_path: Path) -> None:
    data = chunked(point_format, POINTS, CHUNK)
    assert found_in(data, tmp_path)[0] == "by its table"
    assert found_in(without_table(data), tmp_path) == ("in order", [])


def test_a_table_that_nobody_points_to_is_found(tmp_path: Path) -> None:
    data = chunked(3, POINTS, CHUNK)
    sound = found_in(data, tmp_path)
    for place in (-1, 0, 9999, 1 << 50):
        lost = put(data, field(data, "point_offset"), "q", place)
        assert found_in(lost, tmp_path) == sound


@pytest.mark.parametrize("number", [0, 1])
def test_behind_a_chunk_without_a_head_the_next_one_is_found(number: int, tmp_path: Path) -> None:
    data = without_table(chunked(7, POINTS, CHUNK))
    _, chunks = found_in(data, tmp_path)
    wrong = put(data, chunks[number].start + 36, "10I", *[0xFFFFFFFF] * 10)
    _, fragments = found_in(wrong, tmp_path)
    gap = Fragment(chunks[number].start, chunks[number].end)
    assert fragments == [*chunks[:number], gap, *chunks[number + 1 :]]


def test_noise_between_chunks_is_a_gap(tmp_path: Path) -> None:
    data = without_table(chunked(7, POINTS, CHUNK))
    _, chunks = found_in(data, tmp_path)
    at = chunks[1].start
    _, fragments = found_in(data[:at] + b"\xa5" * 321 + data[at:], tmp_path)
    moved = [Fragment(f.start + 321, f.end + 321, f.counts) for f in chunks[1:]]
    assert fragments == [chunks[0], Fragment(at, at + 321), *moved]


def test_a_last_chunk_that_its_table_forgets_is_what_remains(tmp_path: Path) -> None:
    """As in a real file whose writer did so."""
    record = lazrs.LazVlr.new_for_compression(3, 0, True).record_data()
    plain = las(3, 700)
    start = field(plain, "point_offset")
    head = struct.pack("<H16sHH32s", 0, b"laszip encoded", 22204, len(record), b"") + record
    stream = io.BytesIO(plain[:start] + head)
    stream.seek(0, io.SEEK_END)
    compressor = lazrs.LasZipCompressor(stream, lazrs.LazVlr(record))
    compressor.compress_chunks([plain[start:][: 400 * 34], plain[start:][400 * 34 :]])
    compressor.done()
    data = with_fields(
        stream.getvalue(),
        point_offset=start + len(head),
        vlr_count=field(plain, "vlr_count") + 1,
        point_format=0x83,
    )
    _, (first, second, *_) = found_in(data, tmp_path)
    place = struct.unpack_from("<q", data, start + len(head))[0]
    table = io.BytesIO()
    lazrs.write_chunk_table(table, [(400, first.end - first.start)], lazrs.LazVlr(record))
    how, fragments = found_in(data[:place] + table.getvalue(), tmp_path)
    assert how == "by its table"
    assert [fragment.counts for fragment in fragments] == [(400,), (300,)]
    assert [fragment.start for fragment in fragments] == [first.start, second.start]

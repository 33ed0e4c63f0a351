"""Damaged files: what is whole is rescued to the byte, what is lost is counted, nothing else stops."""

import io
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest

from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.salvage import probing
from services.processor.pointcloud.salvage.salvage import Salvaged, salvage
from shared.errors import TaskFailed
from shared.preflight import REFUSALS, SALVAGEABLE
from tests.fixtures.honest import bomb, chunked, copc, field, las, put, with_fields

Damage = Callable[[bytes], bytes]
POINTS = 1200
CHUNK = 500


def laz3() -> bytes:
    return chunked(3, POINTS, CHUNK)


def laz7() -> bytes:
    return chunked(7, POINTS, CHUNK)


def rescue(data: bytes, folder: Path, memory_bytes: int = 1 << 30) -> Salvaged:
    path = folder / ("damaged.laz" if data[104] & 0x80 else "damaged.las")
    path.write_bytes(data)
    return salvage(path, folder, memory_bytes, Meter(lambda *_: None))


def records(path: Path) -> np.ndarray:
    return np.asarray(laspy.read(path).points.array)


@cache
def sound_records(make: Callable[[], bytes]) -> np.ndarray:
    return np.asarray(laspy.read(io.BytesIO(make())).points.array)


def first_chunk(data: bytes) -> int:
    return field(data, "point_offset") + 8


def table_of(data: bytes) -> int:
    return int(struct.unpack_from("<q", data, field(data, "point_offset"))[0])


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 4
    return bytes(changed)


def head_size(data: bytes, layer: int) -> int:
    """Where the size of a layer of the first chunk stands."""
    return first_chunk(data) + field(data, "record_length") + 4 + 4 * layer


@pytest.mark.parametrize("make", [las, laz3, laz7, copc])
def test_a_sound_file_is_rescued_whole_and_nothing_is_said_of_it(
    make: Callable[[], bytes], tmp_path: Path
) -> None:
    found = rescue(make(), tmp_path)
    original = tmp_path / ("damaged.las" if make is las else "damaged.laz")
    assert records(found.source.path).tobytes() == records(original).tobytes()
    assert (found.refused, found.oddities(), found.account.lost) == (None, [], [])
    assert found.source.origin is not None
    assert found.source.origin.path == original


ALL = [(0, POINTS)]
AFTER_FIRST = [(CHUNK, POINTS)]
TWO_CHUNKS = [(0, 2 * CHUNK)]

DAMAGES: list[tuple[str, Callable[[], bytes], Damage, list[tuple[int, int]], str]] = [
    (
        "a layer of four gigabytes",
        laz7,
        lambda d: put(d, head_size(d, 0), "I", 0xFFFFFFFF),
        AFTER_FIRST,
        "by its table",
    ),
    (
        "another number of points in a chunk",
        laz7,
        lambda d: put(d, head_size(d, -1), "I", CHUNK - 100),
        ALL,
        "by its table",
    ),
    ("the last bytes missing", laz3, lambda d: d[:-1], ALL, "in order"),
    ("the last bytes missing", laz7, lambda d: d[:-1], ALL, "by the chunks' own lengths"),
    ("cut in the last chunk", laz7, lambda d: d[:-100], TWO_CHUNKS, "by the chunks' own lengths"),
    ("cut in half", laz7, lambda d: d[: len(d) // 2], [(0, CHUNK)], "by the chunks' own lengths"),
    ("the table's place far away", laz3, lambda d: put(d, field(d, "point_offset"), "q", 1 << 50), ALL, "by its table"),
    ("the table's place never written", laz7, lambda d: put(d, field(d, "point_offset"), "q", -1), ALL, "by its table"),
    ("a garbage table", laz3, lambda d: put(d, table_of(d) + 8, "I", 0xDEADDEAD), ALL, "in order"),
    ("a garbage table", laz7, lambda d: put(d, table_of(d) + 8, "I", 0xDEADDEAD), ALL, "by the chunks' own lengths"),
    ("four thousand million chunks", laz3, lambda d: put(d, table_of(d) + 4, "I", 4_000_000_000), ALL, "in order"),
    ("a count too large", laz3, lambda d: with_fields(d, legacy_count=POINTS + 250), ALL, "by its table"),
    ("a count too large", laz7, lambda d: with_fields(d, count=POINTS + 250), ALL, "by its table"),
    ("an absurd count", laz7, lambda d: with_fields(d, count=1 << 60), ALL, "by its table"),
    ("a count too small", laz3, lambda d: with_fields(d, legacy_count=1100), ALL, "by its table"),
    ("a count too small", laz7, lambda d: with_fields(d, count=700), ALL, "by its table"),
    (
        "no table, and a layer that is longer than it should be",
        laz7,
        lambda d: put(d[:-1], head_size(d, 0), "I", 7000),
        AFTER_FIRST,
        "by the chunks' own lengths",
    ),
    (
        "no table, and no head of the first chunk",
        laz7,
        lambda d: put(d[:-1], head_size(d, 0), "9I", *[0xFFFFFFFF] * 9),
        AFTER_FIRST,
        "by the chunks' own lengths",
    ),
    ("a plain file cut in half", las, lambda d: d[: len(d) // 2], [(0, 494)], "record by record"),
    ("a plain count too large", las, lambda d: with_fields(d, legacy_count=4000), [(0, 1000)], "record by record"),
    ("a plain count too small", las, lambda d: with_fields(d, legacy_count=400), [(0, 1000)], "record by record"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "damage", "whole", "how"),
    [damage[1:] for damage in DAMAGES],
    ids=[f"{name} {make.__name__}" for name, make, *_ in DAMAGES],
)
def test_what_is_whole_is_rescued_to_the_byte_and_the_rest_is_counted(
    make: Callable[[], bytes],
    damage: Damage,
    whole: list[tuple[int, int]],
    how: str,
    tmp_path: Path,
) -> None:
    found = rescue(damage(make()), tmp_path)

    expected = np.concatenate([sound_records(make)[first:end] for first, end in whole])
    assert records(found.source.path).tobytes() == expected.tobytes()
    account, said = found.account, found.describe()
    assert found.how == said["points_read"] == how
    assert account.rescued == said["points_rescued"] == len(expected)
    claimed = (
        field(damage(make()), "count") if make is laz7 else field(damage(make()), "legacy_count")
    )
    assert account.claimed == claimed
    assert account.points_lost == max(claimed - len(expected), 0)
    assert sum(lost["points"] for lost in said["lost"]) == account.points_lost
    assert account.points_suspected == 0
    if account.points_lost:
        assert [oddity.code for oddity in found.oddities()] == ["points_lost"]


@pytest.mark.parametrize("make", [laz3, laz7])
@pytest.mark.parametrize("place", [1000, 4200, 5800, 8200])
def test_a_wrong_bit_costs_its_chunk_or_puts_it_under_suspicion(
    make: Callable[[], bytes], place: int, tmp_path: Path
) -> None:
    """Such bits often decode without an error; compressed again, the points take other bytes."""
    found = rescue(flipped(make(), first_chunk(make()) + place), tmp_path)
    whole = sound_records(make)[CHUNK:]
    assert records(found.source.path)[-len(whole) :].tobytes() == whole.tobytes()
    if found.account.lost:
        (lost,) = found.describe()["lost"]
        assert (lost["first"], lost["points"]) == (0, CHUNK)
        assert lost["bytes"][0] == first_chunk(make())
        assert lost["reason"].startswith("decoding failed: ")
        assert [oddity.code for oddity in found.oddities()] == ["points_lost"]
    else:
        (suspected,) = found.describe()["suspected"]
        assert (suspected["first"], suspected["last"]) == (0, CHUNK - 1)
        assert [oddity.code for oddity in found.oddities()] == ["points_suspected"]


def test_points_outside_the_bounds_are_suspected_where_nothing_can_be_compared(
    tmp_path: Path,
) -> None:
    plain = las()
    strayed = put(plain, field(plain, "point_offset") + 34 * 7, "i", -(2**31))
    (suspected,) = rescue(strayed, tmp_path).describe()["suspected"]
    assert (suspected["first"], suspected["last"], suspected["points"]) == (7, 7, 1)
    assert "outside" in suspected["reason"]


def test_interleaved_points_are_rescued_one_by_one_up_to_the_cut(tmp_path: Path) -> None:
    found = rescue(laz3()[: len(laz3()) // 2], tmp_path)
    assert CHUNK < found.account.rescued < POINTS
    rows = records(found.source.path)
    assert rows.tobytes() == sound_records(laz3)[: len(rows)].tobytes()
    assert found.account.rescued == pytest.approx(POINTS / 2, rel=0.05)


def test_what_follows_a_lost_place_is_not_taken_for_points(tmp_path: Path) -> None:
    """Without a table, a wrong bit moves the start of the next interleaved chunk to nowhere."""
    at = first_chunk(laz3())
    zeros = laz3()[: at + 1000] + bytes(7000) + laz3()[at + 8000 : -1]
    found = rescue(zeros, tmp_path)
    (lost,) = found.account.lost
    assert (lost.first, lost.points) == (CHUNK, POINTS - CHUNK)
    assert "does not begin where it should" in lost.reason
    # Those of the first chunk behind the damage decode, to something.
    assert found.account.points_suspected > 0


@pytest.mark.parametrize("ending", ["abort", "spin", "panic"])
def test_a_chunk_that_kills_its_decoder_costs_that_chunk_only(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = laz7()
    first, second = (chunk_start(data, number) for number in (0, 1))
    monkeypatch.setattr(probing, "MODULE", "tests.fixtures.ominous_prober")
    monkeypatch.setenv("OMINOUS", f"{second} {ending}")
    found = rescue(data, tmp_path)
    assert found.account.rescued == POINTS - CHUNK
    (lost,) = found.account.lost
    assert (lost.first, lost.points) == (CHUNK, CHUNK)
    word = {"abort": "SIGABRT", "spin": "took too long", "panic": "a panic"}[ending]
    assert word in lost.reason
    assert first < second


def chunk_start(data: bytes, number: int) -> int:
    """The first byte of a chunk of a layered file."""
    at = first_chunk(data)
    for _ in range(number):
        sizes = struct.unpack_from("<10I", data, at + 36 + 4)
        at += 36 + 4 + 40 + sum(sizes)
    return at


def test_a_file_that_kills_every_decoder_does_not_go_on_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = laz7()
    monkeypatch.setattr(probing, "MODULE", "tests.fixtures.ominous_prober")
    monkeypatch.setattr(probing, "MOST_DEATHS", 1)
    monkeypatch.setenv("OMINOUS", f"{first_chunk(data)} abort")
    with pytest.raises(TaskFailed) as failure:
        rescue(data, tmp_path)
    assert failure.value.code == "nothing_to_salvage"


def test_a_bomb_is_rescued_no_further_than_a_file_may_unpack(tmp_path: Path) -> None:
    found = rescue(bomb()[:-2], tmp_path)
    assert found.account.rescued < 4_000_000
    assert found.source.path.stat().st_size < 70 << 20


def test_a_salvage_lifts_no_other_refusal(tmp_path: Path) -> None:
    data = with_fields(laz7()[:-1], scale_x=0.0)
    with pytest.raises(TaskFailed) as failure:
        rescue(data, tmp_path)
    assert failure.value.code == "bad_scale"


@pytest.mark.parametrize("end", [0, 4, 100])
def test_a_file_without_a_whole_point_has_nothing_to_salvage(end: int, tmp_path: Path) -> None:
    data = laz7()[: field(laz7(), "point_offset") + end]
    with pytest.raises(TaskFailed) as failure:
        rescue(data, tmp_path)
    assert failure.value.code == "nothing_to_salvage"
    assert failure.value.remedy


def test_extended_records_that_are_gone_are_counted_and_others_kept(tmp_path: Path) -> None:
    record = struct.pack("<H16sHQ32s", 0, b"somebody", 7, 4, b"") + b"note"
    data = las(7)
    whole = with_fields(data + 2 * record, evlr_offset=len(data), evlr_count=2)
    found = rescue(whole[:-1], tmp_path)
    assert found.refused is not None
    assert found.refused.code == "evlr_outside_file"
    kept = [record for record in found.source.carried if record.extended]
    assert [record.payload(found.source.path) for record in kept] == [b"note"]
    assert (found.records_lost, found.account.points_lost) == (1, 0)
    assert [oddity.code for oddity in found.oddities()] == ["salvaged", "records_lost"]


def test_the_rescued_file_stands_any_inspection_of_its_own(tmp_path: Path) -> None:
    found = rescue(copc()[:-200], tmp_path)
    with laspy.open(found.source.path) as reader:
        header = reader.header
    assert {vlr.user_id for vlr in header.vlrs}.isdisjoint({"copc", "laszip encoded"})
    assert found.seen.copc  # of the file that was sent
    assert found.seen.point_count == found.account.rescued


@pytest.mark.parametrize("code", sorted(SALVAGEABLE))
def test_a_refusal_that_a_salvage_lifts_says_so(code: str) -> None:
    assert "salvage=true" in REFUSALS[code].remedy


def test_no_other_refusal_promises_a_salvage() -> None:
    promising = {code for code, one in REFUSALS.items() if "salvage" in one.remedy}
    assert promising == SALVAGEABLE


def test_a_salvage_is_the_same_every_time(tmp_path: Path) -> None:
    seen: list[tuple[bytes, dict[str, Any]]] = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = rescue(flipped(laz3()[:-1], first_chunk(laz3()) + 15_000), folder)
        seen.append((found.source.path.read_bytes(), found.describe()))
    assert seen[0] == seen[1]

"""Every point format becomes 6, 7 or 8 exactly as the conversion's docstring promises."""

from pathlib import Path

import numpy as np
import pytest

from services.processor.pointcloud.las.conversion import convert, describe_conversion, target_format
from services.processor.pointcloud.las.records import as_bytes, base_length, record_dtype
from tests.fixtures.records import _converted


@pytest.mark.parametrize("point_format", range(11))
@pytest.mark.parametrize("extra", [0, 5])
def test_any_bytes_convert_as_an_independent_reading_of_the_specification_says(
    point_format: int, extra: int
) -> None:
    rows = np.random.default_rng(point_format).integers(
        0, 256, (2000, base_length(point_format) + extra), dtype=np.uint8
    )
    records = rows.reshape(-1).view(record_dtype(point_format, extra))

    converted = convert(records, point_format)

    assert np.array_equal(as_bytes(converted), _converted(rows, point_format))


@pytest.mark.parametrize("rank", [-128, -90, -1, 0, 1, 15, 90, 127])
def test_a_scan_angle_rank_becomes_the_nearest_scan_angle(rank: int) -> None:
    records = np.zeros(1, record_dtype(1))
    records["scan_angle_rank"] = rank

    converted = convert(records, 1)

    assert abs(converted["scan_angle"][0] * 0.006 - rank) <= 0.003


def test_class_12_gets_the_overlap_flag_and_stays_class_12() -> None:
    records = np.zeros(2, record_dtype(3))
    records["classification"] = [12, 2 | 0b10100000]

    converted = convert(records, 3)

    assert converted["classification"].tolist() == [12, 2]
    assert converted["flags"].tolist() == [0b1000, 0b0101]


def test_scan_direction_and_edge_of_flight_line_keep_their_places() -> None:
    records = np.zeros(1, record_dtype(0))
    records["returns"] = 0b11_101_011

    converted = convert(records, 0)

    assert converted["returns"][0] == 0b0101_0011
    assert converted["flags"][0] == 0b11000000


def test_formats_of_copc_are_not_touched() -> None:
    records = np.zeros(3, record_dtype(8, 2))
    assert convert(records, 8) is records
    assert describe_conversion(8) == []


@pytest.mark.parametrize("point_format", [4, 5, 9, 10])
def test_the_loss_of_waveforms_is_said(point_format: int) -> None:
    assert any("Waveform" in sentence for sentence in describe_conversion(point_format))


@pytest.mark.parametrize(("before", "after"), [(0, 6), (2, 7), (5, 7), (9, 6), (10, 8)])
def test_the_target_keeps_colour_and_infrared(before: int, after: int) -> None:
    assert target_format(before) == after


def test_the_fixture_knows_no_engine() -> None:
    """Otherwise a mistake of the engine would stand in its own judge."""
    text = (Path(__file__).parents[4] / "fixtures" / "records.py").read_text()
    assert "services." not in text

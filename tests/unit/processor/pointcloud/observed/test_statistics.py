"""Distributions: the same numbers as counting all values at once, in whatever order they come."""

import numpy as np
import pytest

from services.processor.pointcloud.las.records import Records, record_dtype
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.observed.statistics import Tally
from services.processor.pointcloud.products.info import _binned, _counted


def cloud(points: int) -> Records:
    random = np.random.default_rng(points)
    records = np.zeros(points, record_dtype(7))
    records["Z"] = random.normal(0, 50_000, points).astype(np.int32)
    records["gps_time"] = random.random(points) * 1e5 + 3e8
    records["intensity"] = random.gamma(3, 200, points).astype(np.uint16)
    records["scan_angle"] = random.integers(-5000, 5000, points)
    return records


def tally_of(*parts: Records) -> Tally:
    ranges = Ranges(())
    for part in parts:
        ranges.add(part)
    whole = Tally(ranges)
    for part in parts:
        one = Tally(ranges)
        one.add(part)
        whole.merge(one)
    return whole


def test_parts_in_any_order_count_as_the_whole() -> None:
    records = cloud(30_000)
    one = tally_of(records)
    other = tally_of(records[20_000:], records[:7], records[7:20_000])
    assert one.sums == other.sums
    for name, counts in {**one.counted, **one.binned}.items():
        assert np.array_equal(counts, {**other.counted, **other.binned}[name])


@pytest.mark.parametrize("percent", [1, 25, 50, 75, 99])
def test_percentiles_are_right_to_one_bin(percent: float) -> None:
    records = cloud(30_000)
    distribution = _binned(tally_of(records), "Z", 0.001, 100.0)
    heights = records["Z"] * 0.001 + 100
    width = (heights.max() - heights.min()) / 65536
    assert distribution.percentile(percent) == pytest.approx(
        np.percentile(heights, percent, method="inverted_cdf"), abs=2 * width
    )
    assert (distribution.lowest, distribution.highest) == (heights.min(), heights.max())
    assert distribution.mean == pytest.approx(heights.mean(), abs=1e-6)


def test_counted_dimensions_are_exact_and_keep_their_sign() -> None:
    records = cloud(30_000)
    tally = tally_of(records)
    intensity = _counted(tally.counted["intensity"], signed=False)
    angle = _counted(tally.counted["scan_angle"], signed=True)
    assert intensity.percentile(50) == np.percentile(
        records["intensity"], 50, method="inverted_cdf"
    )
    assert angle.lowest == pytest.approx(records["scan_angle"].min() * 0.006)
    assert angle.mean == pytest.approx(records["scan_angle"].mean() * 0.006)


@pytest.mark.parametrize(
    "times", [[np.nan, np.nan], [np.inf, 5.0], [-1e308, 1e308], [0.0, 5e-324], [7.0, 7.0]]
)
def test_times_that_are_hardly_numbers_do_no_harm(times: list[float]) -> None:
    records = cloud(2)
    records["gps_time"] = times
    tally = tally_of(records)
    if "gps_time" in tally.binned:
        distribution = _binned(tally, "gps_time", 1.0, 0.0)
        assert np.isfinite([distribution.percentile(50), distribution.mean]).all()

"""A real mill, measured by its processor time so that a busy machine does not matter."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.processor.pointcloud import mill as road
from services.processor.pointcloud.forecast import forecast_end, forecast_products
from services.processor.pointcloud.las.crs import find_crs
from services.processor.pointcloud.las.source import read_source
from services.processor.pointcloud.meter import Meter
from services.processor.pointcloud.mill import mill
from services.processor.pointcloud.order import Order
from services.processor.pointcloud.products.catalogue import NAMES
from tests.bench.engine.airborne import write_airborne

Said = list[tuple[float, float, float | None]]
Clock = Callable[[], float]


def mill_and_hear(
    path: Path, folder: Path, clock: Clock = time.process_time, workers: int = 1
) -> Said:
    """Mill; (seconds that have passed, fraction, seconds left) for all that is said."""
    began, said = clock(), list[tuple[float, float, float | None]]()

    def hear(_stage: str, fraction: float, _message: str, left: float | None) -> None:
        said.append((clock() - began, fraction, left))

    source = read_source(path)
    order = Order(
        source=source,
        crs=find_crs(source),
        copc=folder / "out.copc.laz",
        scratch=folder / "scratch",
        workers=workers,
        memory_bytes=1 << 30,
        needs=frozenset({"statistics", "surface"}),
    )
    order.scratch.mkdir()
    meter = Meter(hear, clock)
    meter.expect(forecast_end(source, {}))
    mill(order, meter)
    meter.finish()
    return said


@pytest.mark.parametrize("ending", ["laz", "las"])
def test_what_is_left_is_told_within_a_factor_of_two_after_the_first_fifth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(road, "_ALONE_POINTS", 1 << 30)
    path = tmp_path / f"cloud.{ending}"
    write_airborne(path, 1_500_000)

    said = mill_and_hear(path, tmp_path)

    end = said[-1][0]
    late = [(passed, left) for passed, _, left in said if passed > end / 5]
    assert len(late) > 10
    for passed, left in late:
        assert left is not None
        told, true = max(left, 0.5), max(end - passed, 0.5)
        assert 0.5 < told / true < 2, f"{left:.2f} s told, {true:.2f} s true, {passed:.2f} s passed"


def test_a_crew_tells_at_every_step_how_long_it_takes_whatever_else_the_machine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(road, "_ALONE_POINTS", 0)
    path = tmp_path / "cloud.laz"
    write_airborne(path, 200_000)

    said = mill_and_hear(path, tmp_path, time.perf_counter, workers=2)

    # On a busy machine nothing more can be promised of the wall clock.
    assert all(left is not None and 0 <= left < 60 for _, _, left in said)
    fractions = [fraction for _, fraction, _ in said]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_every_product_has_a_price_and_a_finer_grid_or_picture_a_higher_one() -> None:
    names = ["info", "preview", "dtm", "a new one"]
    small = forecast_products(names, 256, 10_000)
    fine = forecast_products(names, 256, 8_000_000)
    large = forecast_products(names, 4096, 10_000)
    assert all(seconds > 0 for seconds in small.values())
    assert fine["dtm"] > 10 * small["dtm"]
    assert large["preview"] > 5 * small["preview"]
    assert fine["info"] == large["info"] == small["info"]


def test_a_product_that_can_be_asked_for_has_a_price_of_its_own() -> None:
    strange = forecast_products(["a new one"], 1024, 1e6)["a new one"]
    costs = forecast_products(NAMES, 1024, 1e6)
    assert [name for name, cost in costs.items() if cost == strange] == []

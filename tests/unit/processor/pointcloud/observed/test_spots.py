"""What is seen from above: the same as looking at all points at once, in whatever parts they come."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.processor.pointcloud.ground.rule import GroundFound
from services.processor.pointcloud.las.records import Records, record_dtype
from services.processor.pointcloud.observed import spots as module
from services.processor.pointcloud.observed.frame import Frame
from services.processor.pointcloud.observed.spots import View, lay_strip, spots_of
from services.processor.pointcloud.observed.surface import Surface, halve

SIZE = 40
FRAME = Frame(
    width=SIZE,
    height=SIZE,
    first_column=0,
    first_row=-SIZE,
    cell_x=1.0,
    cell_y=1.0,
    cell=1.0,
    scales=(0.01, 0.01, 0.01),
    offsets=(0.0, 0.0, 0.0),
)
ALL = ("count", "top", "shade", "lowest", "ground_sum", "ground_count")


def cloud(points: int = 20_000) -> Records:
    random = np.random.default_rng(points)
    records = np.zeros(points, record_dtype(7))
    records["X"], records["Y"] = random.integers(0, SIZE * 100, (2, points))
    # Few heights, so that many points are equally high.
    records["Z"] = random.integers(-20, 20, points) * 100
    records["intensity"] = random.integers(0, 1 << 16, points)
    records["classification"] = random.integers(1, 4, points)
    for name in ("red", "green", "blue"):
        records[name] = random.integers(0, 1 << 16, points)
    return records


def seen(view: View, folder: Path, *parts: Records) -> Surface:
    for layer in view.layers:
        view.file(folder, layer).write_bytes(
            bytes(SIZE * SIZE * np.dtype(module.TYPES[layer]).itemsize)
        )
    tables = [spots_of(part, view) for part in parts]
    rows = view.strip_rows
    for strip in range(-(-SIZE // rows)):
        own = [table[table["cell"] // (rows * SIZE) == strip] for table in tables]
        lay_strip(own, view, strip, folder)
    return Surface(view, folder)


def test_every_layer_is_what_it_says(tmp_path: Path) -> None:
    records = cloud()
    surface = seen(View("grid", FRAME, ALL, True, 8), tmp_path, records)
    row, column = SIZE - 1 - records["Y"] // 100, records["X"] // 100
    # A point on the northern edge of a cell belongs to the cell south of it.
    row += (records["Y"] % 100 == 0) & (row < SIZE - 1)
    for at in ((0, 0), (7, 31), (SIZE - 1, SIZE - 1), (20, 5)):
        own = records[(row == at[0]) & (column == at[1])]
        assert surface.layer("count")[at] == len(own)
        assert surface.layer("lowest")[at] == own["Z"].min()
        assert surface.heights("top")[at] == pytest.approx(own["Z"].max() * 0.01)
        top = own[own["Z"] == own["Z"].max()]
        shades = {
            (*(int(point[name]) >> 8 for name in ("red", "green", "blue")), int(point["intensity"]))
            for point in top
        }
        assert (*surface.colours()[at].tolist(), surface.intensity()[at]) == max(shades)
        ground = own[own["classification"] == 2]
        assert surface.layer("ground_count")[at] == len(ground)
        assert surface.layer("ground_sum")[at] == ground["Z"].sum()


@pytest.mark.parametrize("window", [1 << 20, 50])
def test_parts_in_any_order_make_the_same_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    records, view = cloud(), View("grid", FRAME, ALL, True, 8)
    whole = seen(view, tmp_path, records)
    expected = {layer: whole.layer(layer) for layer in view.layers}
    monkeypatch.setattr(module, "_WINDOW_CELLS", window)
    monkeypatch.setattr(module, "_STRIP_CELLS", 7 * SIZE)
    shuffled = np.random.default_rng(1).permutation(records)
    parts = seen(view, tmp_path, shuffled[15_000:], shuffled[:1], shuffled[1:15_000])
    for layer, values in expected.items():
        there = values if layer == "count" else values[whole.layer("count") > 0]
        found = parts.layer(layer)
        again = found if layer == "count" else found[whole.layer("count") > 0]
        assert np.array_equal(there, again), layer


def test_strays_noise_and_nothing_leave_no_trace(tmp_path: Path) -> None:
    records = cloud(100)
    records["X"][:50] = -1
    records["classification"][50:90] = 7
    surface = seen(View("grid", FRAME, ("count",), reliable_only=True), tmp_path, records)
    assert surface.layer("count").sum() == 10
    assert not len(spots_of(records[:50], surface.view))


@pytest.mark.parametrize("reliable_only", [True, False])
def test_ground_that_a_filter_has_found_is_the_same_on_its_own_grid_and_on_any_other(
    tmp_path: Path, *, reliable_only: bool
) -> None:
    random, shape = np.random.default_rng(6), (SIZE, SIZE)
    least, greatest = np.sort(random.integers(-2000, 2000, (2, *shape)), axis=0).astype("<i4")
    least.tofile(tmp_path / "least")
    greatest.tofile(tmp_path / "greatest")
    found = GroundFound(FRAME, tmp_path / "least", tmp_path / "greatest")
    records = cloud()
    records["classification"][::7], records["flags"][::5] = 7, 4
    # Only a part of the grid, so that its window begins somewhere else.
    records["X"], records["Y"] = records["X"] // 2 + 900, records["Y"] // 3 + 400
    view = View("grid", FRAME, ALL, reliable_only=reliable_only, ground=found)
    other = replace(view, ground=replace(found, frame=replace(FRAME, asked=9.0)))
    spots = spots_of(records, view)
    assert (spots == spots_of(records, other)).all()
    row, column = FRAME.places(records)
    ground = (least[row, column] <= records["Z"]) & (records["Z"] <= greatest[row, column])
    ground &= (records["classification"] != 7) & (records["flags"] != 4)
    assert spots["ground_count"].sum() == np.count_nonzero(ground) > 0
    assert spots["ground_sum"].sum() == records["Z"][ground].sum(dtype=np.int64)


def test_a_layer_that_nobody_asked_for_is_not_there(tmp_path: Path) -> None:
    surface = seen(View("grid", FRAME, ("count", "lowest")), tmp_path, cloud(10))
    with pytest.raises(KeyError):
        surface.layer("top")


@pytest.mark.parametrize(("row", "column"), [(0, 0), (-3, 5), (3, -5)])
def test_halves_keep_all_there_is_at_multiples_of_their_side(row: int, column: int) -> None:
    grid = np.random.default_rng(1).integers(0, 9, (5, 6))
    frame = Frame(6, 5, column, row, 2.0, 2.0, 2.0, FRAME.scales, FRAME.offsets)
    larger, half = halve(frame, grid, np.add)
    assert half.shape == (larger.height, larger.width)
    assert half.sum() == grid.sum()
    assert larger.west <= frame.west < larger.west + 4
    assert larger.north >= frame.north > larger.north - 4
    # The first cell of the fine grid lies in the first of the coarse one.
    assert half[0, 0] >= grid[0, 0]

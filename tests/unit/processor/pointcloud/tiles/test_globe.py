"""Where clouds lie on Earth: a coarse lattice is right to a centimetre, and says what it assumes."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from services.processor.pointcloud.las.crs import CloudCrs
from services.processor.pointcloud.las.records import Records, record_dtype
from services.processor.pointcloud.las.source import Source
from services.processor.pointcloud.observed.ranges import Ranges
from services.processor.pointcloud.tiles.globe import place
from services.processor.pointcloud.tiles.positions import Placement

Triple = tuple[float, float, float]


def cloud(reach: Triple, scales: Triple, offsets: Triple) -> tuple[Source, Records, Ranges]:
    """A source and random records over a box that begins at `offsets`."""
    random = np.random.default_rng(1)
    records = np.zeros(2000, record_dtype(6))
    for axis, name in enumerate("XYZ"):
        records[name] = random.random(2000) * reach[axis] / scales[axis]
    ranges = Ranges(())
    ranges.add(records)
    return cast("Source", SimpleNamespace(scales=scales, offsets=offsets)), records, ranges


def known(name: str) -> CloudCrs:
    crs = CRS.from_user_input(name)
    return CloudCrs("parameter", wkt=crs.to_wkt(), name=crs.name, geographic=crs.is_geographic)


def positions(placement: Placement, records: Records) -> NDArray[np.float64]:
    """Metres along three axes, by axis."""
    middle, away = placement.lattice.positions(records)
    places: NDArray[np.float64] = middle[:, None] + away
    return places


def on_earth(placement: Placement, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions in EPSG:4978."""
    assert placement.transform is not None
    matrix = np.array(placement.transform).reshape(4, 4).T
    return matrix[:3, :3] @ positions + matrix[:3, 3:]


@pytest.mark.parametrize(
    ("crs", "reach", "offsets", "limit"),
    [
        ("EPSG:32633", (900.0, 900.0, 80.0), (430_000.0, 4_580_000.0, 0.0), 0.003),
        ("EPSG:25832", (40_000.0, 60_000.0, 900.0), (330_000.0, 5_580_000.0, 0.0), 0.004),
        ("EPSG:25832", (250_000.0, 250_000.0, 900.0), (330_000.0, 5_580_000.0, 0.0), 0.01),
        ("EPSG:4326", (0.2, 0.1, 300.0), (10.0, 68.0, 0.0), 0.006),
        ("EPSG:2056", (5000.0, 5000.0, 900.0), (2_600_000.0, 1_200_000.0, 400.0), 0.004),
    ],
)
def test_records_lie_where_proj_says_whether_they_are_near_each_other_or_not(
    crs: str, reach: Triple, offsets: Triple, limit: float
) -> None:
    fine = 1e-7 if crs == "EPSG:4326" else 0.001
    source, records, ranges = cloud(reach, (fine, fine, 0.01), offsets)
    placement = place(source, known(crs), ranges)
    flat = Transformer.from_crs(crs, 4326, always_xy=True)
    geocentric = Transformer.from_crs(4979, 4978, always_xy=True)
    near = np.argsort(np.hypot(*(records[n] - np.median(records[n]) for n in "XY")))[:30]
    for some in (records, records[near]):
        x, y, z = (some[n] * source.scales[at] + offsets[at] for at, n in enumerate("XYZ"))
        expected = np.stack(geocentric.transform(*flat.transform(x, y), z))
        found = on_earth(placement, positions(placement, some))
        assert np.abs(found - expected).max() < limit


def test_geocentric_coordinates_are_on_earth_already() -> None:
    source, records, ranges = cloud(
        (500.0,) * 3, (0.001,) * 3, (3_900_000.0, 900_000.0, 4_950_000.0)
    )
    placement = place(source, known("EPSG:4978"), ranges)
    expected = [records[n] * 0.001 + source.offsets[at] for at, n in enumerate("XYZ")]
    found = on_earth(placement, positions(placement, records))
    assert np.abs(found - np.stack(expected)).max() < 0.001


@pytest.mark.parametrize(
    ("crs", "offsets", "word"),
    [
        (CloudCrs("none"), (0.0, 0.0, 0.0), "unknown"),
        (known("EPSG:4326"), (9000.0, 9000.0, 0.0), "no places"),
        (
            CloudCrs("wkt_vlr", wkt='LOCAL_CS["site",UNIT["metre",1]]', name="site"),
            (0.0,) * 3,
            "no way from site",
        ),
    ],
)
def test_a_cloud_that_is_nowhere_keeps_its_own_metres(
    crs: CloudCrs, offsets: Triple, word: str
) -> None:
    source, records, ranges = cloud((100.0, 50.0, 20.0), (0.01,) * 3, offsets)
    placement = place(source, crs, ranges)
    assert placement.transform is None
    assert word in placement.notes[0]
    expected = [
        records[n] * 0.01 + offsets[at] - placement.middle[at] for at, n in enumerate("XYZ")
    ]
    assert np.abs(positions(placement, records) - np.stack(expected)).max() < 1e-4


def test_a_single_point_has_a_place() -> None:
    source, records, ranges = cloud((0.0, 0.0, 0.0), (0.001,) * 3, (430_000.0, 4_580_000.0, 10.0))
    placement = place(source, known("EPSG:32633"), ranges)
    assert np.abs(positions(placement, records[:1])).max() < 0.001

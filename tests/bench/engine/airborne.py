"""A seeded airborne lidar cloud of any size: strips of scan lines over hills, houses and trees.

    python -m tests.bench.engine.airborne 10_000_000 7 cloud.laz

About ten points per square metre, in the order in which a scanner takes them; five strips that
overlap by a fifth, so that the cloud itself is uneven. Coordinates are kept to the millimetre in
EPSG:32633. The same file every time for a number of points, a point format and a seed, made block
by block in constant memory.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import laspy
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from scipy.ndimage import map_coordinates

Floats = NDArray[np.float64]

GROUND, LOW, MEDIUM, HIGH, BUILDING = 2, 3, 4, 5, 6
EAST, NORTH = 430_000.0, 4_580_000.0
_DENSITY = 10.0  # points per square metre, overlaps not counted twice
_SCALE = 0.001
_STRIPS = 5
_WIDTH = 1.2  # of a strip, in shares of the distance between strips
_RELIEF = 80.0  # metres between the lowest and the highest ground
_TERRAIN_CELLS = 1024
_TERRAIN_SEED = 1
_BLOCK = 250_000
_ANGLE = 0.006  # degrees in a unit of the scan angle


@dataclass(frozen=True)
class _Strip:
    """One flight line over a square of `side` metres: `points` points, `per_line` a scan line."""

    number: int
    points: int
    side: float

    @property
    def width(self) -> float:
        return self.side / _STRIPS * _WIDTH

    @property
    def per_line(self) -> int:
        return max(int(np.sqrt(self.points * self.width / self.side)), 10)

    @property
    def lines(self) -> int:
        return max(self.points - 1, 0) // self.per_line + 1


def write_airborne(path: Path, points: int, point_format: int = 7, seed: int = 7) -> None:
    """Write the cloud at `path`, compressed if the name ends in `laz`. Formats 6 to 8."""
    header = laspy.LasHeader(point_format=point_format, version="1.4")
    header.scales, header.offsets = np.full(3, _SCALE), np.array([EAST, NORTH, 0.0])
    header.add_crs(CRS.from_epsg(32633))
    backend = laspy.LazBackend.LazrsParallel if path.suffix == ".laz" else None
    unfinished = path.with_name(f"unfinished-{path.name}")
    with laspy.open(unfinished, "w", header=header, laz_backend=backend) as writer:
        for block in airborne_blocks(header, points, seed):
            writer.write_points(block)
    unfinished.rename(path)


def airborne_blocks(
    header: laspy.LasHeader, points: int, seed: int = 7
) -> Iterator[laspy.ScaleAwarePointRecord]:
    """The points of the cloud, some 100,000 at a time."""
    terrain, side = _terrain(), float(np.sqrt(points / _DENSITY))
    usual = points // _STRIPS
    for number in range(_STRIPS):
        strip = _Strip(number, usual if number else points - usual * (_STRIPS - 1), side)
        for block, start in enumerate(range(0, strip.points, _BLOCK)):
            random = np.random.default_rng([seed, number, block])
            shots = np.arange(start, min(start + _BLOCK, strip.points))
            yield _scan(header, terrain, strip, shots, random)


def _terrain() -> Floats:
    """Heights of fractal ground in metres, as a square that is stretched over the cloud."""
    cells = _TERRAIN_CELLS
    frequency = np.fft.fftfreq(cells)[:, None] ** 2 + np.fft.fftfreq(cells)[None, :] ** 2
    frequency[0, 0] = 1.0
    noise = np.random.default_rng(_TERRAIN_SEED).standard_normal((cells, cells))
    heights = np.fft.ifft2(np.fft.fft2(noise) / frequency**1.1).real
    heights -= heights.min()
    return np.asarray(heights * (_RELIEF / heights.max()))


def _scan(
    header: laspy.LasHeader,
    terrain: Floats,
    strip: _Strip,
    shots: NDArray[np.int64],
    random: np.random.Generator,
) -> laspy.ScaleAwarePointRecord:
    count, side = len(shots), strip.side
    line, place = np.divmod(shots, strip.per_line)
    back = line & 1
    across = place / strip.per_line
    across = np.where(back, 1 - across, across)
    x, y = _positions(strip, line, across, random)
    ground = map_coordinates(terrain, np.stack([y, x]) * ((len(terrain) - 1) / side), order=1)
    z, classes, leafy = _cover(x, y, ground, random)
    returns = np.where(leafy, random.integers(1, 5, count), 1)
    record = laspy.ScaleAwarePointRecord.zeros(count, header=header)
    for name, values in (("X", x), ("Y", y), ("Z", z)):
        record[name] = np.rint(values / _SCALE).astype(np.int32)
    record.classification = classes
    record.number_of_returns = returns
    record.return_number = np.minimum(returns, random.integers(1, 5, count))
    record.intensity = _bright(classes, random)
    time = 3.0e8 + strip.number * 1000 + shots * 2e-6
    record.gps_time = time + random.integers(0, 2, count) * 1e-7
    record.point_source_id = np.full(count, strip.number + 1, np.uint16)
    record.scan_angle = ((across - 0.5) * 40 / _ANGLE).astype(np.int16)
    record.scan_direction_flag = back
    record.edge_of_flight_line = place == strip.per_line - 1
    if "red" in record.point_format.dimension_names:
        record.red, record.green, record.blue = _colours(x, classes, random)
    return record


def _positions(
    strip: _Strip, line: NDArray[np.int64], across: Floats, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Metres from the south-western corner. What lies outside the square is put on its border."""
    last = strip.side - _SCALE
    west = strip.number * strip.side / _STRIPS - 0.1 * strip.width
    x = west + across * strip.width + random.normal(0, 0.03, len(line))
    y = line / strip.lines * strip.side + random.normal(0, 0.03, len(line))
    x, y = np.clip(x, 0, last), np.clip(y, 0, last)
    return x, last - y if strip.number & 1 else y


def _cover(
    x: Floats, y: Floats, ground: Floats, random: np.random.Generator
) -> tuple[Floats, NDArray[np.uint8], NDArray[np.bool_]]:
    """Heights and classes with what stands on the ground, and where trees are."""
    count = len(x)
    z = ground + random.normal(0, 0.02, count)
    classes = np.full(count, GROUND, np.uint8)
    # A house of 18 by 14 metres in about every other square of 60 metres.
    lot = np.abs(np.sin(np.floor(x / 60) * 12.9898 + np.floor(y / 60) * 78.233)) * 43758.5453 % 1
    house = (x % 60 < 18) & (y % 60 < 14) & (lot > 0.55)
    roof = np.round(ground / 10) * 10 + 6 + lot * 9 + random.normal(0, 0.01, count)
    z[house], classes[house] = roof[house], BUILDING
    leafy = (np.sin(x / 37) + np.cos(y / 29) + np.sin((x + y) / 11) > 1.0) & ~house
    height = random.gamma(3, 2.2, count)
    hit = leafy & (random.random(count) < 0.6)
    z[hit] = (ground + height)[hit]
    classes[hit] = np.select([height > 5, height > 2], [HIGH, MEDIUM], LOW)[hit]
    return z, classes, leafy


def _bright(classes: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint16]:
    usual = np.select([classes == GROUND, classes == BUILDING], [900, 1400], 400)
    light = np.clip(usual + random.normal(0, 120, len(classes)), 0, 65535)
    return np.asarray(light, np.uint16)


def _colours(
    x: Floats, classes: NDArray[np.uint8], random: np.random.Generator
) -> NDArray[np.uint16]:
    usual = np.select([classes == GROUND, classes == BUILDING], [110, 170], 70)
    light = usual + 20 * np.sin(x / 9) + random.normal(0, 14, len(x))
    tinted = light + np.array([[0], [20], [-20]])
    return np.asarray(np.clip(tinted, 0, 255), np.uint16) * np.uint16(256)


if __name__ == "__main__":
    write_airborne(Path(sys.argv[3]), int(sys.argv[1]), int(sys.argv[2]))

"""Makes a small town as a LAZ file: a valley with a river, streets, houses, trees.

    python -m deploy.local.town town.laz

The same file every time. ETRS89 / UTM zone 32N (EPSG:25832), metres, LAS 1.4, point format 7.
"""

import argparse
import datetime as dt
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import laspy
import numpy as np
import numpy.typing as npt
from pyproj import CRS

Floats: TypeAlias = npt.NDArray[np.float64]
Random: TypeAlias = np.random.Generator

WIDTH, DEPTH = 320.0, 230.0  # metres
EAST, NORTH = 691_000.0, 5_336_000.0  # of the south-western corner
GROUND, MEADOW, TREE, BUILDING, WATER, ROAD = 2, 3, 5, 6, 9, 11
_SEED = 20
_GROUND_POINTS = 215_000
_STREETS_X = (52.0, 128.0, 204.0, 276.0)
_STREETS_Y = (38.0, 92.0, 196.0)


@dataclass(frozen=True)
class Points:
    """Points of one kind: coordinates in metres from the corner, colours from 0 to 255."""

    kind: int
    xyz: Floats
    colour: Floats
    returns: int = 1


def terrain(x: Floats, y: Floats) -> Floats:
    """Height of the ground in metres: two hills and a river bed."""
    hills = 14 * np.exp(-(((x - 55) / 85) ** 2) - ((y - 215) / 60) ** 2)
    hills += 9 * np.exp(-(((x - 300) / 70) ** 2) - ((y - 15) / 60) ** 2)
    waves = 0.6 * np.sin(x / 31) * np.cos(y / 27)
    bed = 3.5 * np.exp(-((river_distance(x, y) / 9) ** 2))
    return np.asarray(512 + hills + waves - bed, dtype=np.float64)


def river_distance(x: Floats, y: Floats) -> Floats:
    """Metres to the middle of the river, roughly."""
    return np.asarray(np.abs(y - 142 - 14 * np.sin(x / 48)), dtype=np.float64)


def street_distance(x: Floats, y: Floats) -> Floats:
    """Metres to the middle of the nearest street; streets across the river are bridges."""
    bent_x = x - 5 * np.sin(y / 48)
    bent_y = y - 4 * np.sin(x / 55)
    along = np.min([np.abs(bent_x - at) for at in _STREETS_X], axis=0)
    across = np.min([np.abs(bent_y - at) for at in _STREETS_Y], axis=0)
    return np.asarray(np.minimum(along, across), dtype=np.float64)


def _shaded(base: tuple[int, int, int], count: int, random: Random, spread: float = 12) -> Floats:
    """`count` colours around `base`, each as a whole a little lighter or darker."""
    return np.asarray(base + random.normal(0, spread, (count, 1)), dtype=np.float64)


def ground(random: Random) -> Iterator[Points]:
    """Meadows, streets, water."""
    x, y = random.uniform(0, WIDTH, _GROUND_POINTS), random.uniform(0, DEPTH, _GROUND_POINTS)
    z = terrain(x, y)
    street = street_distance(x, y) < 3.2
    water = (river_distance(x, y) < 8) & ~street
    # Water is flat, and a bridge stands above it.
    level = 510.6
    z = np.where(water, level, np.where(street & (river_distance(x, y) < 12), 512.4, z))
    z += random.normal(0, 0.02, x.size)
    xyz = np.column_stack([x, y, z])
    patches = 18 * np.sin(x / 23) * np.sin(y / 19)
    meadow = ~(street | water)
    green = _shaded((104, 142, 74), x.size, random) + np.column_stack(
        [patches, patches / 2, patches]
    )
    yield Points(GROUND, xyz[meadow], green[meadow])
    yield Points(ROAD, xyz[street], _shaded((112, 112, 118), int(street.sum()), random, 6))
    yield Points(WATER, xyz[water], _shaded((62, 104, 138), int(water.sum()), random, 5))


def houses(random: Random) -> Iterator[Points]:
    """Gabled houses along the streets."""
    roofs = [(158, 74, 58), (172, 92, 66), (120, 72, 66), (98, 98, 108)]
    for left in np.arange(4, WIDTH - 14, 15.5):
        for below in np.arange(4, DEPTH - 14, 14.5):
            x, y = left + random.uniform(6.5, 9), below + random.uniform(6, 8.5)
            at = np.array([x]), np.array([y])
            garden = random.random() < 0.12
            near_street = 9.5 < street_distance(*at)[0] < 26
            wood = y > 190 and x < 118
            if near_street and river_distance(*at)[0] > 18 and not garden and not wood:
                yield from _house(x, y, roofs[int(random.integers(len(roofs)))], random)


def _house(x: float, y: float, colour: tuple[int, int, int], random: Random) -> Iterator[Points]:
    length, width = random.uniform(9, 12), random.uniform(7, 8.5)
    wall, gable = random.uniform(4, 7), random.uniform(2.5, 4)
    base = float(terrain(np.array([x]), np.array([y]))[0])
    u = random.uniform(-0.5, 0.5, 650)
    v = random.uniform(-0.5, 0.5, 650)
    height = base + wall + gable * (1 - 2 * np.abs(v))
    # The side away from the sun is darker: the picture shows the ridge.
    light = np.where(v > 0, 1.08, 0.84)[:, None]
    tiles = _shaded(colour, 650, random, 5) * light
    turn = (1, 0) if random.random() < 0.5 else (0, 1)
    yield Points(BUILDING, _placed((x, y), turn, (u * length, v * width, height)), tiles)
    side = random.integers(0, 4, 180)
    along = random.uniform(-0.5, 0.5, 180)
    u = np.where(side < 2, along, np.where(side == 2, -0.5, 0.5))
    v = np.where(side < 2, np.where(side == 0, -0.5, 0.5), along)
    height = base + random.uniform(0, wall, 180)
    plaster = _shaded((214, 204, 184), 180, random, 6)
    yield Points(BUILDING, _placed((x, y), turn, (u * length, v * width, height)), plaster)


def _placed(
    at: tuple[float, float], turn: tuple[int, int], local: tuple[Floats, Floats, Floats]
) -> Floats:
    """From a house's own axes, the ridge first, to the town's."""
    along, across, z = local
    x = at[0] + along * turn[0] + across * turn[1]
    y = at[1] + along * turn[1] + across * turn[0]
    return np.column_stack([x, y, z])


def trees(random: Random) -> Iterator[Points]:
    """A wood on the hill, trees along the river and in the gardens."""
    for _ in range(1300):
        x, y = random.uniform(3, WIDTH - 3), random.uniform(3, DEPTH - 3)
        at = np.array([x]), np.array([y])
        river, street = river_distance(*at)[0], street_distance(*at)[0]
        wood = y > 200 and x < 118
        if street < 5 or river < 10 or not (wood or river < 20 or random.random() < 0.14):
            continue
        yield _tree(x, y, random, tall=wood)


def _tree(x: float, y: float, random: Random, *, tall: bool) -> Points:
    count = 130
    height = random.uniform(9, 16) if tall else random.uniform(5, 9)
    radius = height * random.uniform(0.22, 0.3)
    direction = random.normal(0, 1, (count, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    crown = direction * random.uniform(0.75, 1, (count, 1)) * [radius, radius, height * 0.36]
    base = float(terrain(np.array([x]), np.array([y]))[0])
    xyz = crown + np.array([x, y, base + height * 0.62])
    # Leaves at the top get more light.
    light = 1 + 0.22 * direction[:, 2:3]
    return Points(TREE, xyz, _shaded((66, 106, 52), count, random, 8) * light, returns=2)


def write(path: Path) -> int:
    """Write the town to `path` and return its number of points."""
    random = np.random.default_rng(_SEED)
    kinds = [*ground(random), *houses(random), *trees(random)]
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.offsets, header.scales = np.array([EAST, NORTH, 500.0]), np.array([0.01, 0.01, 0.01])
    header.add_crs(CRS.from_epsg(25832))
    header.creation_date = dt.date(2026, 1, 1)
    header.generating_software = "Pointmill town"
    cloud = laspy.LasData(header)
    _fill(cloud, kinds, random)
    fresh = path.with_name(f"{path.name}.part")
    with fresh.open("wb") as file:
        cloud.write(file, do_compress=True)
    fresh.replace(path)
    return len(cloud.points)


def _fill(cloud: Any, kinds: list[Points], random: Random) -> None:
    xyz = np.concatenate([points.xyz for points in kinds])
    inside = (xyz[:, 0] >= 0) & (xyz[:, 0] < WIDTH) & (xyz[:, 1] >= 0) & (xyz[:, 1] < DEPTH)
    # As flown: strip after strip from south to north.
    order = np.lexsort((xyz[:, 0], np.floor(xyz[:, 1] / 2)))
    order = order[inside[order]]
    xyz = xyz[order]
    count = len(order)

    def each(value: str) -> npt.NDArray[Any]:
        return np.concatenate([np.full(len(p.xyz), getattr(p, value)) for p in kinds])[order]

    cloud.x, cloud.y, cloud.z = xyz[:, 0] + EAST, xyz[:, 1] + NORTH, xyz[:, 2]
    cloud.classification = each("kind").astype(np.uint8)
    returns = each("returns").astype(np.uint8)
    cloud.number_of_returns = returns
    cloud.return_number = np.minimum(returns, random.integers(1, 3, count)).astype(np.uint8)
    colour = np.concatenate([points.colour for points in kinds])[order]
    wide = (np.clip(colour, 0, 255) * 257).astype(np.uint16)
    cloud.red, cloud.green, cloud.blue = wide.T
    cloud.intensity = np.clip(colour.mean(axis=1) * 180 + random.normal(0, 900, count), 0, 65535)
    cloud.gps_time = 300_000_000 + np.arange(count) * 5e-6
    cloud.point_source_id = (xyz[:, 1] // 100 + 1).astype(np.uint16)
    cloud.scan_angle = ((xyz[:, 1] % 100 - 50) / 50 * 3000).astype(np.int16)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.town", description=__doc__)
    parser.add_argument("path", type=Path, help="the file to write")
    path = parser.parse_args().path
    print(f"{path}: {write(path):,} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The picture of a cloud from above: shaded relief, tinted by height or in the cloud's own colours.

A cell of the picture that no point falls into is transparent. Thin clouds are drawn on a coarser
grid and smoothed up to the picture's size; clouds of a few points are drawn as discs.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from services.processor.pointcloud.las.records import Records
from services.processor.pointcloud.observed.spots import shades_of
from services.processor.pointcloud.observed.surface import Surface, halve
from services.processor.pointcloud.products.kind import Cloud, ProductKind
from services.processor.pointcloud.rasters.gaps import fill_gaps

Grid = NDArray[np.floating[Any]]

_TINTS = (
    (0.00, (38, 70, 83)),
    (0.18, (42, 130, 128)),
    (0.38, (110, 170, 110)),
    (0.58, (233, 208, 120)),
    (0.78, (240, 160, 95)),
    (0.92, (222, 110, 82)),
    (1.00, (250, 235, 225)),
)
_FEW_POINTS = 400
_SMALLEST_GRID = 48
_MARGIN = 8


def write(cloud: Cloud, path: Path) -> None:
    """Write the picture in the size that the caller chose."""
    milled = cloud.milled
    draw_preview(milled.surface, milled.sample, path, cloud.settings.picture_cells)


PRODUCT = ProductKind(
    name="preview",
    file="preview.png",
    media_type="image/png",
    title="Picture from above",
    needs=frozenset({"surface"}),
    write=write,
)


def draw_preview(surface: Surface | None, sample: Records, path: Path, longest: int) -> None:
    """Write the picture as PNG, its longer side `longest` pixels; a blank one for an empty cloud.

    `sample` are some of the records: if they lie at a few places only, those are drawn.
    """
    if surface is None or not len(sample):
        Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(path, compress_level=4)
        return
    together = (sample["X"].astype(np.int64) << 32) + sample["Y"]
    _, places = np.unique(together, return_index=True)
    if len(places) <= _FEW_POINTS:
        picture = _draw_discs(surface, sample[places], longest)
    else:
        picture = _draw_relief(surface, longest)
    # More effort makes the file of a shaded picture no smaller.
    picture.save(path, compress_level=2)


def _draw_relief(surface: Surface, longest: int) -> Image.Image:
    heights, colours, mask = _coarse_enough(surface, longest)
    layers = [heights] if colours is None else [heights, *np.moveaxis(colours, -1, 0)]
    mask, (heights, *bands) = fill_gaps(mask, layers)
    factor = longest / max(heights.shape)
    size = (max(round(heights.shape[1] * factor), 1), max(round(heights.shape[0] * factor), 1))
    cover = _resize(mask.astype(np.float32), size, Image.Resampling.BILINEAR)
    heights, *bands = _extend([heights, *bands], mask)
    relief = _resize(heights, size, Image.Resampling.BICUBIC)
    light = _light(relief)
    if not bands:
        base = _tint(relief, heights[mask])
    else:
        layers = [_resize(band, size, Image.Resampling.BILINEAR) for band in bands]
        base = np.stack(layers, axis=-1)
    return _compose(base, light, np.clip((cover - 0.35) / 0.3, 0, 1))


def _draw_discs(surface: Surface, records: Records, longest: int) -> Image.Image:
    """Every point as a disc, the highest on top."""
    records = records[np.argsort(records["Z"], kind="stable")]
    frame, view = surface.frame, surface.view
    x, y = (
        (records[name] - records[name].min()) * (frame.scales[axis] / cell)
        for axis, name, cell in ((0, "X", frame.cell_x), (1, "Y", frame.cell_y))
    )
    fine = 2  # drawn twice as large and scaled down, for smooth edges
    reach = max(x.max(), y.max()) or 1.0
    spacing = np.sqrt(max(x.max() * y.max(), reach) / len(records)) * longest / reach
    radius = float(np.clip(spacing * 0.3, 4, longest / 40)) * fine
    scale = longest * fine / reach
    pad = radius + _MARGIN * fine
    size = (round(x.max() * scale + 2 * pad), round(y.max() * scale + 2 * pad))
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    heights = records["Z"].astype(np.float64)
    colours = _unpack(shades_of(records, view) >> np.uint64(16)) if view.coloured else None
    colours = _tint(heights, heights) if colours is None else colours
    points = zip((x * scale + pad).tolist(), ((y.max() - y) * scale + pad).tolist(), strict=True)
    for (right, down), colour in zip(points, np.clip(colours, 0, 255).astype(int), strict=True):
        box = (right - radius, down - radius, right + radius, down + radius)
        edge = tuple((colour * 0.7).astype(int).tolist())
        draw.ellipse(box, fill=(*colour.tolist(), 255), outline=(*edge, 255), width=fine)
    factor = longest / max(size)
    smaller = (max(round(size[0] * factor), 1), max(round(size[1] * factor), 1))
    return image.resize(smaller, Image.Resampling.LANCZOS)


def _coarse_enough(surface: Surface, longest: int) -> tuple[Grid, Grid | None, NDArray[np.bool_]]:
    """Heights, colours if the cloud has some, and where there are any, on a grid without many holes.

    It is not much finer than the picture.
    """
    frame, count = surface.frame, surface.layer("count")
    # Height and colour of the highest point in one number, of which the largest is kept.
    top = surface.layer("top").astype(np.int64)
    top += 1 << 31
    packed = top.view(np.uint64)
    packed <<= np.uint64(32)
    packed |= surface.layer("shade") >> np.uint64(16)
    packed[count == 0] = 0
    while max(packed.shape) > 2 * _SMALLEST_GRID and (
        max(packed.shape) > 1.25 * longest or _neighbours(count > 0)[count > 0].mean() < 6
    ):
        _, packed = halve(frame, packed, np.maximum)
        frame, count = halve(frame, count, np.add)
    mask = count > 0
    heights = (packed >> np.uint64(32)).astype(np.float64)
    # What is left of the heights fits into fewer digits.
    heights -= heights[mask].min()
    if not surface.view.coloured:
        return heights.astype(np.float32), None, mask
    return heights.astype(np.float32), _unpack(packed & np.uint64(0xFFFFFF)), mask


def _unpack(packed: NDArray[np.uint64]) -> Grid:
    """0xRRGGBB as three bands from 0 to 255."""
    shifts = np.array([16, 8, 0], np.uint64)
    return ((packed[..., None] >> shifts) & np.uint64(0xFF)).astype(np.float32)


def _neighbours(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How many of the eight cells around each have points; beyond the edge there is nothing."""
    padded = np.pad(mask.astype(np.uint8), 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total: NDArray[np.uint8] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - mask
    return total


def _extend(grids: list[Grid], mask: NDArray[np.bool_]) -> list[Grid]:
    """The grids continued over their edges, so that smoothing does not draw nothing into something.

    Four cells far, each the mean of those around it that have values; the mean of all beyond.
    """
    known = np.pad(mask, 1).reshape(-1)
    padded = [np.pad(np.where(mask, grid, np.float32(0)), 1).reshape(-1) for grid in grids]
    width = mask.shape[1] + 2
    columns = [np.array([-width, 0, width]) + right for right in (-1, 0, 1)]
    empty = np.flatnonzero(np.pad(~mask, 1))
    for _ in range(4):
        count = np.zeros(len(empty), np.uint8)
        for step in np.concatenate(columns):
            count += known[empty + step]
        edge, count, empty = empty[count > 0], count[count > 0], empty[count == 0]
        for values in padded:
            above, here, below = (
                [values[edge + column[row]] for column in columns] for row in range(3)
            )
            left, middle, right = (a + b + c for a, b, c in zip(above, here, below, strict=True))
            values[edge] = (left + middle + right) / count
        known[edge] = True
    reached = known.reshape(-1, width)[1:-1, 1:-1]
    inner = [values.reshape(-1, width)[1:-1, 1:-1] for values in padded]
    return [np.where(reached, grid, grid[reached].mean()) for grid in inner]


def _resize(grid: Grid, size: tuple[int, int], how: Image.Resampling) -> Grid:
    image = Image.fromarray(grid.astype(np.float32, copy=False))
    return np.asarray(image.resize(size, how), dtype=np.float32)


def _light(relief: Grid) -> Grid:
    """How bright each place is, around 1: light from several sides, and shade in hollows."""
    if min(relief.shape) < 2:
        return np.ones(relief.shape)
    down, right = np.gradient(relief)
    steep = np.percentile(np.hypot(down, right), 90)
    if steep <= 0:
        return np.ones(relief.shape)
    down, right = down / steep, right / steep
    length = np.sqrt(1 + down**2 + right**2)
    light = np.zeros(relief.shape)
    # Mostly from the north-west, as maps are lit, with a little from two other sides.
    for azimuth, share in ((315, 0.6), (15, 0.2), (255, 0.2)):
        east, north = np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))
        light += share * (0.75 - 0.65 * (east * right - north * down)) / length
    hollow = relief - _blurred(relief, max(max(relief.shape) // 60, 1))
    deep = np.percentile(np.abs(hollow), 90) or 1.0
    return 0.45 + 0.75 * light + 0.12 * np.tanh(hollow / deep)


def _blurred(grid: Grid, radius: int) -> Grid:
    """The mean of the square around each place."""
    for axis in (0, 1):
        widths = [(radius + 1, radius) if at == axis else (0, 0) for at in (0, 1)]
        total = np.cumsum(np.pad(grid, widths, mode="edge"), axis=axis)
        ahead = np.take(total, range(2 * radius + 1, total.shape[axis]), axis=axis)
        behind = np.take(total, range(total.shape[axis] - 2 * radius - 1), axis=axis)
        grid = (ahead - behind) / (2 * radius + 1)
    return grid


def _tint(heights: Grid, sample: Grid) -> Grid:
    """A colour for every height; the few lowest and highest of the sample share the end colours."""
    low, high = np.percentile(sample, (2, 98))
    if high <= low:
        low, high = low - 1, low + 1
    place = np.clip((heights - low) / (high - low), 0, 1)
    stops = [stop for stop, _ in _TINTS]
    bands = [np.interp(place, stops, [colour[band] for _, colour in _TINTS]) for band in range(3)]
    return np.stack(bands, axis=-1)


def _compose(base: Grid, light: Grid, cover: Grid) -> Image.Image:
    shaded = np.clip(base * light[..., None], 0, 255)
    pixels = np.concatenate([shaded, cover[..., None] * 255], axis=-1)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))

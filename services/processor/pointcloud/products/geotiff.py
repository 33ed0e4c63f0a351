"""Grids as Cloud-Optimized GeoTIFFs: tiled, compressed, with overviews, the same bytes each time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import CRSError
from rasterio.transform import Affine

from services.processor.pointcloud.observed.frame import Frame
from services.processor.pointcloud.products.kind import Cloud

_TILE = 512
_GDAL = {
    "GDAL_NUM_THREADS": "1",
    "GDAL_CACHEMAX": 64 << 20,
    # Whatever GTiff cannot hold would go to a file beside it, which nobody would deliver.
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_TIFF_INTERNAL_MASK": "YES",
    "GTIFF_POINT_GEO_IGNORE": "NO",
}
_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)


@dataclass(frozen=True)
class Band:
    """One band of a raster.

    Attributes:
        name: what it holds, for its description.
        values: rows from north to south.
        nodata: the value of cells that hold nothing; a GeoTIFF has one for all of its bands.
        unit: of the values, such as `metre`; None if they have none.
    """

    name: str
    values: NDArray[Any]
    nodata: float | None = None
    unit: str | None = None


def write_cog(
    path: Path, bands: Sequence[Band], frame: Frame, cloud: Cloud, overviews: str = "nearest"
) -> None:
    """Write the bands, of one shape and with one type and one nodata, as a GeoTIFF.

    `overviews` is how they are resampled. The coordinate system is the cloud's, with its heights;
    there is none in the file if the cloud's is unknown.
    """
    kind = np.result_type(*(band.values.dtype for band in bands))
    rows, columns = bands[0].values.shape
    nodata = next((band.nodata for band in bands if band.nodata is not None), None)
    with (
        rasterio.Env(**_GDAL),
        rasterio.open(
            path,
            "w",
            driver="COG",
            width=columns,
            height=rows,
            count=len(bands),
            dtype=kind,
            nodata=nodata,
            crs=_crs(cloud),
            transform=Affine(frame.cell_x, 0.0, frame.west, 0.0, -frame.cell_y, frame.north),
            blocksize=_TILE,
            compress="DEFLATE",
            # Beside the predictor, level 6 makes heights no smaller and colours by an eighth, for
            # twice the time.
            level=1,
            predictor="YES",
            overview_resampling=overviews.upper(),
            overview_compress="DEFLATE",
            num_threads="1",
            bigtiff="IF_SAFER",
        ) as raster,
    ):
        if [band.name for band in bands] == [colour.name for colour in _COLOURS]:
            raster.colorinterp = _COLOURS
        for number, band in enumerate(bands, 1):
            raster.write(band.values.astype(kind, copy=False), number)
            raster.set_band_description(number, band.name)
            if band.unit:
                raster.set_band_unit(number, band.unit)


def _crs(cloud: Cloud) -> CRS | None:
    if not cloud.crs.name or not cloud.crs.wkt:
        return None
    try:
        return CRS.from_wkt(cloud.crs.wkt)
    except CRSError:
        return None

"""Which products there are: the modules of this folder. They are loaded only when asked for."""

import importlib
import pkgutil
from collections.abc import Iterable

from services.processor.pointcloud import products
from services.processor.pointcloud.products.kind import ProductKind

_NO_PRODUCTS = frozenset({"kind", "catalogue", "geotiff", "geojson", "relief"})
"""Modules of the folder that products are made with."""

_ON_REQUEST = frozenset({"tiles3d"})
"""Products too large or too slow to be made of every cloud."""

NAMES = tuple(
    sorted({module.name for module in pkgutil.iter_modules(products.__path__)} - _NO_PRODUCTS)
)
"""Every product that can be asked for; COPC, certificate and the like are always made."""

DEFAULT = tuple(name for name in NAMES if name not in _ON_REQUEST)
"""What is made if the caller does not choose."""


def load_products(names: Iterable[str]) -> list[ProductKind]:
    """The kinds of these names, in the order of the names, each once.

    Importing them takes a third of a second: they need the raster libraries.

    Raises:
        ValueError: a module does not hold the product it is named after.
    """
    return [_load(name) for name in sorted(set(names))]


def _load(name: str) -> ProductKind:
    kind = importlib.import_module(f"{products.__name__}.{name}").PRODUCT
    if not isinstance(kind, ProductKind) or kind.name != name:
        raise ValueError(f"products/{name}.py must hold PRODUCT = ProductKind(name={name!r}, …).")
    return kind

"""Every product's module holds the product it is named after, and its file is its own."""

import pkgutil

import pytest

from services.processor.pointcloud import products
from services.processor.pointcloud.products import catalogue, info
from services.processor.pointcloud.products.catalogue import DEFAULT, NAMES, load_products
from services.processor.pointcloud.products.kind import ProductKind


def test_every_module_is_a_product_or_says_that_it_is_none() -> None:
    kinds = load_products(NAMES)
    assert [kind.name for kind in kinds] == list(NAMES)
    assert len({kind.file for kind in kinds}) == len(kinds)
    assert set(DEFAULT) <= set(NAMES)
    modules = {module.name for module in pkgutil.iter_modules(products.__path__)}
    assert modules == set(NAMES) | catalogue._NO_PRODUCTS


def test_products_are_loaded_once_each_and_in_order() -> None:
    assert [kind.name for kind in load_products(["preview", "info", "preview"])] == [
        "info",
        "preview",
    ]


def test_a_module_with_a_product_of_another_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = ProductKind(
        "other", "x.json", "application/json", "X", frozenset(), lambda _c, _p: None
    )
    monkeypatch.setattr(info, "PRODUCT", wrong)
    with pytest.raises(ValueError, match="must hold PRODUCT"):
        load_products(["info"])

"""The stores that the suite of this folder asks."""

from tests.fixtures.objects import emulator, place, store, strict

__all__ = ["emulator", "place", "store", "strict"]

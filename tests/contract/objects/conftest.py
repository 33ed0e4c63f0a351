"""The stores that the suite of this folder asks."""

from tests.fixtures.objects import emulator, hasty, impatient, place, store, strict

__all__ = ["emulator", "hasty", "impatient", "place", "store", "strict"]

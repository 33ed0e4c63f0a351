"""The kinds of jobs, with what orders are checked by; looked up once a second, not once an order."""

import time
from dataclasses import dataclass

from jsonschema import Draft202012Validator

from shared.db import Database, Row

# For so long an order may be checked by what a kind was before. Its processor checks again.
REMEMBERED_SECONDS = 1.0


@dataclass(frozen=True)
class KnownKind:
    """What an order of the kind must fit: its row, and the schema in it ready to check by."""

    row: Row
    params: Draft202012Validator


class Kinds:
    """The kinds that processors have announced, remembered for a second."""

    def __init__(self, database: Database) -> None:
        """Start with none remembered."""
        self._database = database
        self._known: dict[str, tuple[float, KnownKind]] = {}

    def through(self, database: Database) -> "Kinds":
        """The same, and as much remembered, looked up through another database."""
        kinds = Kinds(database)
        kinds._known = self._known
        return kinds

    async def find(self, kind: str) -> KnownKind | None:
        """The kind; None when nobody has announced it (that is never remembered)."""
        known = self._known.get(kind)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        row = await self._database.row("read_kind", kind)
        if row is None:
            return None
        # Made anew only here: a validator costs more than a check by it.
        found = KnownKind(row, Draft202012Validator(row["params_schema"]))
        self._known[kind] = (time.monotonic() + REMEMBERED_SECONDS, found)
        return found

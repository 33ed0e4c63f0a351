"""What may change in a message between two releases: optional fields may be added, nothing else.

    python -m tests.contract.compatibility     after a release: publish today's schemas

`published/` holds the schemas as they were last released. A message is read by services that are older
and newer than its sender, so every field that was there stays exactly as it was: neither wider (an old
reader would stumble) nor narrower (an old sender would). Words for people may change. An enum may grow
where the field says so with `x-may-grow`, as its readers were then told from the beginning.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.messages import CATALOGUE
from shared.messages.publish import schema_of

PUBLISHED = Path(__file__).parent / "published"
WORDS = frozenset({"title", "description", "examples", "default", "$comment", "deprecated"})
MAY_GROW = "x-may-grow"

Json = Mapping[str, Any]


def breaks(old: Json, new: Json) -> list[str]:
    """What of the new schema somebody who knows the old one could not live with."""
    return list(_compare(old, new, old, new, "data"))


def _compare(old: Json, new: Json, old_root: Json, new_root: Json, at: str) -> Iterator[str]:
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    yield from _compare_properties(old, new, old_root, new_root, at)
    for name in sorted({*old, *new} - WORDS - {"properties", "$defs", "$id"}):
        before, now = old.get(name), new.get(name)
        where = f"{at}: {name}"
        if name == "enum" and isinstance(before, list) and isinstance(now, list):
            yield from _compare_enums(before, now, at, may_grow=bool(old.get(MAY_GROW)))
        elif name == "required":
            if set(before or ()) != set(now or ()):
                yield f"{where} was {before} and is {now}"
        elif isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _compare(before, now, old_root, new_root, f"{at}.{name}")
        elif _are_schemas(before) and _are_schemas(now) and len(before) == len(now):
            for number, (one, other) in enumerate(zip(before, now, strict=True)):
                yield from _compare(one, other, old_root, new_root, f"{at}.{name}.{number}")
        elif before != now:
            yield f"{where} was {before} and is {now}"


def _compare_properties(
    old: Json, new: Json, old_root: Json, new_root: Json, at: str
) -> Iterator[str]:
    before, now = old.get("properties", {}), new.get("properties", {})
    for name, schema in before.items():
        if name not in now:
            yield f"{at}.{name} is gone"
        else:
            yield from _compare(schema, now[name], old_root, new_root, f"{at}.{name}")


def _compare_enums(before: list[Any], now: list[Any], at: str, *, may_grow: bool) -> Iterator[str]:
    for value in before:
        if value not in now:
            yield f"{at}: the value {value!r} is gone"
    if not may_grow:
        for value in now:
            if value not in before:
                yield f"{at}: the value {value!r} is new, and readers were not told to expect any"


def _resolved(schema: Json, root: Json) -> Json:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Json = root["$defs"][reference.rpartition("/")[2]]
    # What stands beside a reference counts, too.
    return {**found, **{name: value for name, value in schema.items() if name != "$ref"}}


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def published() -> dict[str, Any]:
    """The schemas as they were last released, by the message's type."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(PUBLISHED.glob("*.json"))}


def main() -> int:
    """Publish today's schemas, unless they break what was published."""
    old = published()
    broken = [f"{type_} is gone" for type_ in old if type_ not in CATALOGUE]
    for type_ in CATALOGUE.keys() & old.keys():
        broken += [f"{type_} {what}" for what in breaks(old[type_], schema_of(type_))]
    if broken:
        sys.stderr.write("\n".join([*broken, "Make it a new version instead.\n"]))
        return 1
    for type_ in CATALOGUE:
        text = json.dumps(schema_of(type_), indent=2, sort_keys=True)
        (PUBLISHED / f"{type_}.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

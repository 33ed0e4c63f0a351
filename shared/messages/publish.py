"""Write the published JSON Schema of every message: `python -m shared.messages.publish`."""

import json
from pathlib import Path
from typing import Any

from shared.messages import CATALOGUE

SCHEMAS = Path(__file__).parent / "schemas"


def schema_of(type_: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a message's data."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:pointmill:message:{type_}",
        **CATALOGUE[type_].model_json_schema(),
    }


def main() -> None:
    """Write one file per message type."""
    SCHEMAS.mkdir(exist_ok=True)
    for type_ in CATALOGUE:
        text = json.dumps(schema_of(type_), indent=2, sort_keys=True)
        (SCHEMAS / f"{type_}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

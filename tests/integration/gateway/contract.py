"""Holds every answer that a test gets against the document that clients read."""

import re
from typing import Any

import orjson
from jsonschema import Draft202012Validator

Json = dict[str, Any]


class Contract:
    """The operations of an OpenAPI document, found by method and path."""

    def __init__(self, document: Json) -> None:
        self._components = document["components"]
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        ]

    def check(self, method: str, path: str, status: int, media_type: str, body: bytes) -> None:
        """Fail unless the status, the media type and the shape of the answer are declared."""
        operation = self._find("GET" if method == "HEAD" else method, path.partition("?")[0])
        if operation is None:
            return
        told = f"{method} {path} answered {status} {media_type}"
        responses = operation["responses"]
        assert str(status) in responses, f"{told}; declared are {sorted(responses)}"
        content = responses[str(status)].get("content", {})
        if not body:
            return
        plain = media_type.partition(";")[0]
        # A product keeps the media type of its own.
        if "*/*" in content:
            return
        assert plain in content, f"{told}; declared are {sorted(content)}"
        if plain.endswith("json"):
            schema = {**content[plain]["schema"], "components": self._components}
            Draft202012Validator(schema).validate(orjson.loads(body))

    def _find(self, method: str, path: str) -> Json | None:
        for known, pattern, operation in self._operations:
            if known == method and pattern.fullmatch(path):
                return dict(operation)
        return None

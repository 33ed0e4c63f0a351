"""Points as a binary glTF 2.0 file, with what LAS says of each as EXT_structural_metadata has it."""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_FLOAT, _BYTE, _SHORT = 5126, 5121, 5123
_VERTICES = 34962
_WORD = 4
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942


class PointForm:
    """What all tiles of a cloud have in common.

    A point is a row of words of four bytes: its position in metres from the tile's middle with y
    up (three floats), its linear colour (four bytes), and a word for each dimension that is kept.

    Attributes:
        words: how many words a point has.
    """

    def __init__(self, kept: tuple[str, ...]) -> None:
        """Keep `intensity`, `classification`, both, or neither."""
        self.words = 4 + len(kept)
        self._kept = kept

    def head(self, points: int, middle: Floats, low: Floats, high: Floats) -> bytes:
        """What stands before the points in a .glb file (glTF 2.0, section 4.4).

        Args:
            points: how many follow.
            middle: of the tile, in metres, z up.
            low: the least of the points' positions along each axis, as they have them.
            high: the greatest.
        """
        ends = {"min": low.tolist(), "max": high.tolist()}
        document = self._document(points, middle, ends)
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        size = points * self.words * _WORD
        head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + size)
        head += struct.pack("<II", len(text), _JSON_CHUNK) + text
        return head + struct.pack("<II", size, _BINARY_CHUNK)

    def _document(self, points: int, middle: Floats, ends: dict[str, Any]) -> dict[str, Any]:
        east, north, up = middle.tolist()
        primitive: dict[str, Any] = {
            "mode": 0,
            "material": 0,
            "attributes": {
                name: number for number, name in enumerate(["POSITION", "COLOR_0", *self._traits()])
            },
        }
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "Pointmill"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "translation": [east, up, -north]}],
            "meshes": [{"primitives": [primitive]}],
            "materials": [{"extensions": {"KHR_materials_unlit": {}}}],
            "accessors": self._accessors(points, ends),
            "bufferViews": [
                {
                    "buffer": 0,
                    "byteLength": points * self.words * _WORD,
                    "byteStride": self.words * _WORD,
                    "target": _VERTICES,
                }
            ],
            "buffers": [{"byteLength": points * self.words * _WORD}],
        }
        if self._kept:
            document["extensionsUsed"].append("EXT_structural_metadata")
            document["extensions"] = {"EXT_structural_metadata": self._metadata()}
            primitive["extensions"] = {"EXT_structural_metadata": {"propertyAttributes": [0]}}
        return document

    def _accessors(self, points: int, ends: dict[str, Any]) -> list[dict[str, Any]]:
        kinds = {
            "position": (_FLOAT, "VEC3"),
            "colour": (_BYTE, "VEC4"),
            "intensity": (_SHORT, "SCALAR"),
            "classification": (_BYTE, "SCALAR"),
        }
        accessors: list[dict[str, Any]] = []
        for word, name in zip((0, 3, 4, 5), ("position", "colour", *self._kept), strict=False):
            kind, shape = kinds[name]
            accessors.append(
                {
                    "bufferView": 0,
                    "byteOffset": word * _WORD,
                    "componentType": kind,
                    "count": points,
                    "type": shape,
                }
            )
        accessors[0] |= ends
        accessors[1]["normalized"] = True
        return accessors

    def _traits(self) -> list[str]:
        return [f"_{name.upper()}" for name in self._kept]

    def _metadata(self) -> dict[str, Any]:
        kinds = {"intensity": "UINT16", "classification": "UINT8"}
        properties = {
            name: {"type": "SCALAR", "componentType": kinds[name], "required": True}
            for name in self._kept
        }
        named = zip(self._kept, self._traits(), strict=True)
        return {
            "schema": {"id": "las", "classes": {"point": {"properties": properties}}},
            "propertyAttributes": [
                {
                    "class": "point",
                    "properties": {name: {"attribute": trait} for name, trait in named},
                }
            ],
        }

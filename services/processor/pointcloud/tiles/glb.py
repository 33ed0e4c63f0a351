"""Points as a binary glTF 2.0 file, with what LAS says of each as EXT_structural_metadata has it."""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT, _BYTE, _SHORT = 5126, 5121, 5123
_VERTICES = 34962
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942


class PointForm:
    """What all tiles of a cloud have in common.

    Attributes:
        dtype: a point: `position` in metres from the tile's middle with y up, linear `colour`, and
            the dimensions that are kept.
    """

    def __init__(self, kept: tuple[str, ...]) -> None:
        """Keep `intensity`, `classification`, both, or neither."""
        # Every attribute begins at a multiple of four bytes.
        names = {"intensity": ("<u2", 2), "classification": ("u1", 3)}
        fields: list[Any] = [("position", "<f4", 3), ("colour", "u1", 4)]
        for name in kept:
            kind, pad = names[name]
            fields += [(name, kind), (f"after_{name}", f"V{pad}")]
        self.dtype = np.dtype(fields)
        self._kept = kept

    def binary(self, points: NDArray[np.void], middle: NDArray[np.float64]) -> bytes:
        """The points as a .glb file (glTF 2.0, section 4.4); `middle` is metres, z up."""
        text = json.dumps(self._document(points, middle), separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        body = points.tobytes()
        head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(body))
        head += struct.pack("<II", len(text), _JSON_CHUNK) + text
        return head + struct.pack("<II", len(body), _BINARY_CHUNK) + body

    def _document(self, points: NDArray[np.void], middle: NDArray[np.float64]) -> dict[str, Any]:
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
            "accessors": self._accessors(points),
            "bufferViews": [
                {
                    "buffer": 0,
                    "byteLength": points.nbytes,
                    "byteStride": points.dtype.itemsize,
                    "target": _VERTICES,
                }
            ],
            "buffers": [{"byteLength": points.nbytes}],
        }
        if self._kept:
            document["extensionsUsed"].append("EXT_structural_metadata")
            document["extensions"] = {"EXT_structural_metadata": self._metadata()}
            primitive["extensions"] = {"EXT_structural_metadata": {"propertyAttributes": [0]}}
        return document

    def _accessors(self, points: NDArray[np.void]) -> list[dict[str, Any]]:
        kinds = {
            "position": (_FLOAT, "VEC3"),
            "colour": (_BYTE, "VEC4"),
            "intensity": (_SHORT, "SCALAR"),
            "classification": (_BYTE, "SCALAR"),
        }
        accessors: list[dict[str, Any]] = []
        for name in ("position", "colour", *self._kept):
            kind, shape = kinds[name]
            place = points.dtype.fields[name][1] if points.dtype.fields else 0
            accessors.append(
                {
                    "bufferView": 0,
                    "byteOffset": place,
                    "componentType": kind,
                    "count": len(points),
                    "type": shape,
                }
            )
        accessors[0]["min"] = points["position"].min(axis=0).tolist()
        accessors[0]["max"] = points["position"].max(axis=0).tolist()
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

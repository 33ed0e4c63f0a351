"""WKT read for names and codes alone: what a coordinate system is called, not what it means.

Both dialects nest the same way, `KEYWORD["name", …, AUTHORITY["EPSG","25832"]]`. Nothing recurses,
so that a text of thirty thousand brackets costs no more than any other of its length.
"""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r'"[^"]*"|[\[\](),]|[^\s\[\](),"]+')
_KEPT_DEPTH = 5  # of a bound compound system: itself, source, compound, part, code
_COMPOUND = {"COMPD_CS", "COMPOUNDCRS"}
_VERTICAL = {"VERT_CS", "VERTCRS", "VERTICALCRS"}
_GEOGRAPHIC = {"GEOGCS", "GEOGCRS", "GEOGRAPHICCRS"}


@dataclass(frozen=True)
class Node:
    """A keyword with what stands in its brackets; strings lose their quotation marks."""

    keyword: str
    values: list[str] = field(default_factory=list)
    children: list["Node"] = field(default_factory=list)

    @property
    def name(self) -> str | None:
        """The first value, which is the name of a coordinate system."""
        return self.values[0] if self.values else None

    @property
    def epsg(self) -> int | None:
        """The code that EPSG gave to this node itself."""
        for child in self.children:
            code = child.values[1:2]
            if (
                code
                and child.keyword in {"AUTHORITY", "ID"}
                and child.values[0].upper() == "EPSG"
                and re.fullmatch(r"[1-9]\d{0,8}", code[0], re.ASCII)
            ):
                return int(code[0])
        return None

    @property
    def geographic(self) -> bool:
        """Whether the coordinates are angles."""
        return self.keyword in _GEOGRAPHIC


def parts_of(text: str) -> tuple[Node | None, Node | None, Node | None]:
    """The whole system, its horizontal part and its vertical part, as far as they are there."""
    whole = _root(text)
    while whole is not None and whole.keyword in {"BOUNDCRS", "SOURCECRS"}:
        whole = whole.children[0] if whole.children else None
    if whole is None or whole.name is None:
        return None, None, None
    parts = whole.children if whole.keyword in _COMPOUND else [whole]
    systems = [part for part in parts if part.keyword.endswith(("CS", "CRS"))]
    vertical = next((part for part in systems if part.keyword in _VERTICAL), None)
    horizontal = next((part for part in systems if part.keyword not in _VERTICAL), None)
    return whole, horizontal, vertical


def _root(text: str) -> Node | None:
    """The outermost node; None where the brackets do not close it."""
    opened: list[Node] = []
    word = ""
    for piece in _TOKEN.findall(text):
        if piece in "[(":
            node = Node(word.upper())
            if opened and len(opened) < _KEPT_DEPTH:
                opened[-1].children.append(node)
            opened.append(node)
        elif piece in "])":
            if not opened:
                return None
            closed = opened.pop()
            if not opened:
                return closed
        elif piece != "," and opened:
            opened[-1].values.append(piece.strip('"'))
        word = piece
    return None

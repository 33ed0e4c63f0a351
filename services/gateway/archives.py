"""One tile out of a 3D Tiles Archive (3TZ 1.3) without reading the rest of it.

The archive is a ZIP file of plain entries whose last entry is an index: for each name its MD5 as two
little-endian numbers, and where its local header begins; sorted, so that a name is found by halving.
"""

import hashlib
import struct
from collections import OrderedDict

from shared.objects import ObjectStore

MEDIA_TYPE = "application/vnd.maxar.archive.3tz+zip"
INDEX = b"@3dtilesIndex1@"
MOST_REMEMBERED_BYTES = 32 << 20
# The last entry's description, its ZIP64 part and the ends of the directory; no comment is written.
TAIL_BYTES = 512
_DESCRIPTION, _LOCAL, _ENTRY = b"PK\x01\x02", b"PK\x03\x04", 24
_LOCAL_BYTES = 30
# Name and ZIP64 part of a local header that is read along with it.
_ROOM = 300
_LARGE = 0xFFFFFFFF


class NoArchive(Exception):
    """The object is not an archive as we write it."""


class Archives:
    """The indices of archives, remembered: objects never change."""

    def __init__(self, store: ObjectStore) -> None:
        """Start with none remembered."""
        self._store = store
        self._indices: OrderedDict[str, bytes] = OrderedDict()

    async def find(self, key: str, size: int, name: str) -> tuple[int, int] | None:
        """Where the entry's bytes begin in the object and how many they are; None if there is none.

        Args:
            key: the archive's.
            size: of the archive, in bytes.
            name: the entry's, such as `tileset.json`.

        Raises:
            NoArchive: the object is no 3D Tiles Archive, or holds compressed entries.
        """
        index = await self._index(key, size)
        digest = hashlib.md5(name.encode(), usedforsecurity=False).digest()
        wanted = struct.unpack("<QQ", digest)
        low, high = 0, len(index) // _ENTRY
        while low < high:
            middle = (low + high) // 2
            first, second, at = struct.unpack_from("<QQQ", index, middle * _ENTRY)
            if (first, second) == wanted:
                return await self._locate(key, at, name.encode())
            if (first, second) < wanted:
                low = middle + 1
            else:
                high = middle
        return None

    async def _index(self, key: str, size: int) -> bytes:
        known = self._indices.get(key)
        if known is not None:
            self._indices.move_to_end(key)
            return known
        index = await self._read_index(key, size)
        self._indices[key] = index
        while sum(map(len, self._indices.values())) > MOST_REMEMBERED_BYTES:
            self._indices.popitem(last=False)
        return index

    async def _read_index(self, key: str, size: int) -> bytes:
        tail = await self._bytes(key, max(0, size - TAIL_BYTES), size)
        at = tail.rfind(_DESCRIPTION)
        if at < 0 or tail[at + 46 : at + 46 + len(INDEX)] != INDEX:
            raise NoArchive
        extra_bytes = struct.unpack_from("<H", tail, at + 30)[0]
        header: int = struct.unpack_from("<I", tail, at + 42)[0]
        if header == _LARGE:
            extra = tail[at + 46 + len(INDEX) :][:extra_bytes]
            header = struct.unpack_from("<Q", extra, len(extra) - 8)[0]
        found = await self._locate(key, header, INDEX)
        start, length = found
        if length % _ENTRY or start + length > size:
            raise NoArchive
        return await self._bytes(key, start, start + length)

    async def _locate(self, key: str, at: int, name: bytes) -> tuple[int, int]:
        """The bytes of the entry whose local header is there."""
        head = await self._bytes(key, at, at + _LOCAL_BYTES + _ROOM)
        if len(head) < _LOCAL_BYTES or head[:4] != _LOCAL:
            raise NoArchive
        flags, method = struct.unpack_from("<HH", head, 6)
        length, name_bytes, extra_bytes = struct.unpack_from("<IHH", head, 22)
        if flags & 8 or method or head[_LOCAL_BYTES : _LOCAL_BYTES + name_bytes] != name:
            raise NoArchive  # compressed, or its length stands behind it
        if length == _LARGE:
            length = struct.unpack_from("<Q", head, _LOCAL_BYTES + name_bytes + 4)[0]
        return at + _LOCAL_BYTES + name_bytes + extra_bytes, length

    async def _bytes(self, key: str, start: int, end: int) -> bytes:
        return b"".join([piece async for piece in self._store.read(key, start=start, end=end)])

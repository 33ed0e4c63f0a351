"""The text/event-stream format, read from bytes as they come. No input or output here."""

from dataclasses import dataclass

# A job's result is at most a few hundred KB; a stream without line ends must not fill the memory.
LONGEST_EVENT = 16 << 20


@dataclass(frozen=True)
class Event:
    """One event of the stream; `id` is where a broken stream is taken up again."""

    id: str | None
    name: str
    data: str


class EventParser:
    """Turns bytes into events, however the network has cut them."""

    def __init__(self) -> None:
        """Begin at the beginning of a stream."""
        self._rest = b""
        self._size = 0
        self._id: str | None = None
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes; raises ValueError if one grows beyond measure."""
        *lines, rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = rest
        events = [event for line in lines if (event := self._take(line)) is not None]
        if self._size + len(rest) > LONGEST_EVENT:
            raise ValueError(f"an event of more than {LONGEST_EVENT} bytes")
        return events

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._end()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._size += len(line)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _end(self) -> Event | None:
        name, data = self._name or "message", self._data
        self._name, self._data, self._size = "", [], 0
        return Event(self._id, name, "\n".join(data)) if data else None

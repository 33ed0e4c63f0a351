import pytest

from services.gateway.client import events
from services.gateway.client.events import Event, EventParser

STREAM = (
    b": ping\n\n"
    b'id: 7\nevent: started\ndata: {"a":\ndata: 1}\n\n'
    b"id: 8\r\ndata:\xc3\xa9\r\n\r\n"
    b"event: progress\ndata: x\n\n"
    b"data: never ended"
)
EXPECTED = [
    Event("7", "started", '{"a":\n1}'),
    Event("8", "message", "é"),
    Event("8", "progress", "x"),
]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_network_cuts_them(step: int) -> None:
    parser = EventParser()
    found = []
    for start in range(0, len(STREAM), step):
        found += parser.feed(STREAM[start : start + step])
    assert found == EXPECTED


def test_an_event_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LONGEST_EVENT", 1000)
    parser = EventParser()
    for _ in range(60):
        parser.feed(b"data: 123456789\n")
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        parser.feed(b"data: 123456789\n" * 40)

"""Events are what a reader after the standard's text makes of them."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import BEGINNING, Message, Position
from gateway.protocols.event_stream import (
    PING,
    count_events,
    last_event,
    message_event,
    notice_event,
    position_mark,
    retry_after,
)
from gateway.protocols.plain import Format, encode_message, encode_notice
from tests.support.event_source import Event, EventParser

POSITION = Position("5f3c9a2e", 42)
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("\r\n\0: \ufeff"), max_size=50)


def message(data: object, position: Position = POSITION) -> Message:
    return Message("room", orjson.dumps(data), "m1", "alice", 1.5, position)


def read(events: bytes) -> list[Event]:
    return EventParser().feed(events)


def test_a_message_is_an_event_with_its_position_as_id() -> None:
    assert message_event(Format.TEXT, message("Hola")) == b"id: 5f3c9a2e:42\ndata: [room] Hola\n\n"


def test_a_notice_is_an_event_of_its_own_type() -> None:
    event = notice_event("gap", encode_notice("gap", channel="room"), POSITION)
    assert event == b'id: 5f3c9a2e:42\nevent: gap\ndata: {"type":"gap","channel":"room"}\n\n'
    (read_back,) = read(event)
    assert (read_back.type, read_back.json) == ("gap", {"type": "gap", "channel": "room"})


def test_a_notice_may_leave_the_reader_where_it_is() -> None:
    parser = EventParser()
    parser.feed(position_mark(POSITION))
    (event,) = parser.feed(notice_event("expires", b"{}"))
    assert event == Event("expires", "{}", "5f3c9a2e:42")


@given(data=TEXT | st.recursive(st.none() | st.integers() | TEXT, st.lists), format=...)
def test_every_message_is_read_back(data: object, format: Format) -> None:
    """In ``json`` exactly; in the others, a line break of any kind is a line feed."""
    try:
        sent = message(data)
    except orjson.JSONEncodeError:
        return
    (event,) = read(message_event(format, sent))
    payload = encode_message(format, sent).decode()
    assert event.last_event_id == "5f3c9a2e:42"
    assert event.type == "message"
    assert event.data == payload.replace("\r\n", "\n").replace("\r", "\n")
    if format is Format.JSON:
        assert event.json["data"] == data


@given(texts=st.lists(TEXT, min_size=1, max_size=8), cut=st.integers(0, 400), format=...)
def test_joined_events_are_counted_cut_and_read_in_any_pieces(
    texts: list[str], cut: int, format: Format
) -> None:
    events = [
        message_event(format, message(text, Position("e", n))) for n, text in enumerate(texts, 1)
    ]
    batch = b"".join(events)
    assert count_events(batch) == len(texts)
    assert last_event(batch) == events[-1]
    parser = EventParser()
    found = parser.feed(batch[:cut]) + parser.feed(batch[cut:])
    assert [event.last_event_id for event in found] == [f"e:{n}" for n in range(1, len(texts) + 1)]


@pytest.mark.parametrize("position", [BEGINNING, POSITION])
def test_a_mark_says_where_the_reader_is_and_hands_nothing_on(position: Position) -> None:
    parser = EventParser()
    assert parser.feed(position_mark(position)) == []
    assert Position.parse(parser.last_event_id) == position


def test_what_a_page_never_sees() -> None:
    parser = EventParser()
    assert parser.feed(retry_after(1.5) + PING) == []
    assert parser.retry == 1500
    assert parser.comments == [" ping"]
    assert parser.last_event_id == ""

"""Where a listener over plain HTTP goes on, and what it is told in each format."""

import pytest

from gateway.core.track import Gap
from gateway.domain.errors import Denied, Unavailable
from gateway.domain.messages import Position
from gateway.protocols.plain import Format
from gateway.sockets.events import EVENT_WIRES, continued, farewell
from tests.support.event_source import EventParser

GAP = Gap(Position("old", 7), Position("new", 3))
WITHOUT_NOTICES = [Format.TEXT, Format.RAW]


def test_without_a_last_event_the_url_says_where_to_begin() -> None:
    for headers in ({}, {"last-event-id": ""}):
        assert continued({"since": ["a:1"]}, headers) == {"since": ["a:1"]}


def test_a_last_event_counts_more_than_the_url() -> None:
    query = {"since": ["a:1"], "history": ["5"], "format": ["raw"]}
    assert continued(query, {"last-event-id": "a:9"}) == {"since": ["a:9"], "format": ["raw"]}


@pytest.mark.parametrize("last", ["17", "a:1, a:2", "a:-1", "\x00", ":1", "x" * 9000])
def test_a_last_event_of_somebody_else_is_a_position_that_cannot_be_continued(last: str) -> None:
    (since,) = continued({}, {"last-event-id": last})["since"]
    assert Position.parse(since) == Position("unknown", 0)


def test_after_a_gap_the_reader_stands_behind_it() -> None:
    parser = EventParser()
    (event,) = parser.feed(EVENT_WIRES[Format.JSON].gap("room", GAP))
    assert event.type == "gap"
    assert event.json == {
        "type": "gap",
        "channel": "room",
        "reason": "epoch_changed",
        "since": "old:7",
        "next": "new:3",
    }
    assert parser.last_event_id == "new:2"


@pytest.mark.parametrize("format", WITHOUT_NOTICES)
def test_formats_without_notices_have_none_but_know_where_they_are(format: Format) -> None:
    wire = EVENT_WIRES[format]
    assert wire.gap("room", GAP) == b""
    parser = EventParser()
    assert parser.feed(wire.caught_up("room", Position("e", 5))) == []
    assert parser.last_event_id == "e:5"
    assert farewell(format, Denied("no")) == b""


def test_caught_up_is_an_event() -> None:
    parser = EventParser()
    (event,) = parser.feed(EVENT_WIRES[Format.JSON].caught_up("room", Position("e", 5)))
    assert (event.type, event.last_event_id, event.json["offset"]) == ("caught_up", "e:5", 5)


@pytest.mark.parametrize("format", Format)
def test_the_farewell_says_when_to_come_back(format: Format) -> None:
    parser = EventParser()
    events = parser.feed(farewell(format, Unavailable("this replica restarts", 1.25)))
    assert parser.retry == 1250
    if format is Format.JSON:
        (event,) = events
        assert event.json == {
            "type": "end",
            "error": "unavailable",
            "detail": "this replica restarts",
        }

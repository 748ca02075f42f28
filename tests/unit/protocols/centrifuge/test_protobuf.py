"""The Protobuf spelling: the same commands as in JSON, and the same answers."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from centrifuge.protocol import client_pb2 as theirs
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Message, Position, message_id
from gateway.protocols.centrifuge import codes, commands, results
from gateway.protocols.centrifuge.commands import BadCommand
from gateway.protocols.centrifuge.json import JSON
from gateway.protocols.centrifuge.protobuf import PROTOBUF
from gateway.protocols.centrifuge.results import ClientInfo, Publication
from gateway.protocols.centrifuge.schema import MESSAGES
from gateway.protocols.centrifuge.schema import Command as OurCommand
from gateway.protocols.centrifuge.schema import EmulationRequest as OurEmulationRequest
from gateway.protocols.centrifuge.schema import Reply as OurReply

# Newer than what the public client's own schema knows.
_LATER = {"SubscribeRequest.type", "Publication.epoch"}
_DATA = {"data", "conn_info", "chan_info"}


def delimited(message: bytes) -> bytes:
    head, size = bytearray(), len(message)
    while size > 127:
        head.append(size % 128 + 128)
        size //= 128
    return bytes([*head, size]) + message


def spelled(command: Mapping[str, Any]) -> bytes:
    """As the public client spells it."""
    message: bytes = ParseDict(_encoded(command), theirs.Command()).SerializeToString()
    return delimited(message)


def _encoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64encode(_line(each)).decode() if name in _DATA else _encoded(each)
        for name, each in value.items()
    }


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def read(payload: bytes) -> list[Any]:
    """What the public client reads of it, as JSON would say it."""
    found, at = [], 0
    while at < len(payload):
        size = shift = 0
        while True:
            byte = payload[at]
            at, size, shift = at + 1, size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        assert at + size <= len(payload)
        reply = theirs.Reply.FromString(payload[at : at + size])
        found.append(_decoded(MessageToDict(reply, preserving_proto_field_name=True)))
        at += size
    return found


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for name, each in value.items():
        if name in _DATA:
            found[name] = json.loads(base64.b64decode(each))
        else:
            found[name] = int(each) if name == "offset" else _decoded(each)
    return found


def message(offset: int, data: bytes = b'{"a":1}') -> Message:
    return Message("room", data, "id", "alice", 1.5, Position("e1", offset))


def test_the_schema_is_that_of_the_public_client() -> None:
    for ours in (OurCommand, OurEmulationRequest, OurReply):
        known = ours.DESCRIPTOR.file.message_types_by_name
        for name in MESSAGES:
            other = theirs.DESCRIPTOR.message_types_by_name[name].fields_by_name
            for field in known[name].fields:
                if f"{name}.{field.name}" in _LATER:
                    assert field.name not in other
                    continue
                same = other[field.name]
                assert (field.number, field.type) == (same.number, same.type), field.full_name
                assert field.is_repeated == same.is_repeated
                if field.message_type is not None:
                    assert field.message_type.name == same.message_type.name


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"id": 1, "connect": {}},
        {
            "id": 1,
            "connect": {
                "token": "t",
                "data": {"x": 1},
                "name": "dart",
                "version": "5",
                "subs": {
                    "a": {"recover": True, "epoch": "e", "offset": 7},
                    "b": {"recover": False},
                },
                "headers": {"x": "y"},
                "flag": 1,
            },
        },
        {"id": 2, "subscribe": {"channel": "a", "delta": "fossil", "flag": 1}},
        {"id": 2, "subscribe": {"channel": "a", "recover": True, "epoch": "é", "offset": 3}},
        {"id": 2, "subscribe": {"channel": "a", "recover": True, "offset": 2**64 - 1, "flag": 3}},
        {"id": 2, "subscribe": {"channel": "a", "token": "t", "data": [1]}},
        {"id": 3, "unsubscribe": {"channel": "a"}},
        {"id": 4, "publish": {"channel": "a", "data": "ñ"}},
        {"id": 4, "publish": {"channel": "a", "data": None}},
        {"id": 4, "publish": {"channel": "a"}},
        {"id": 5, "presence": {"channel": "a"}},
        {"id": 5, "presence_stats": {"channel": "a"}},
        {"id": 6, "history": {"channel": "a"}},
        {
            "id": 6,
            "history": {
                "channel": "a",
                "limit": -1,
                "since": {"offset": 1, "epoch": "e"},
                "reverse": True,
            },
        },
        {"id": 7, "rpc": {"method": "m", "data": [1]}},
        {"id": 8, "refresh": {"token": "t"}},
        {"id": 9, "sub_refresh": {"channel": "a", "token": "t"}},
        {"send": {"data": 1}},
    ],
)
def test_a_command_means_what_it_means_in_json(value: dict[str, Any]) -> None:
    assert PROTOBUF.decode(spelled(value)) == JSON.decode(json.dumps(value))


def test_a_request_without_a_websocket_says_what_it_says_in_json() -> None:
    said = theirs.EmulationRequest(session="s", node="n", data=b"\x00")
    assert PROTOBUF.said(said.SerializeToString()) == commands.Said("s", "n", b"\0")
    assert JSON.said(b'{"session":"s","node":"n","data":"{}"}') == commands.Said("s", "n", "{}")


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05n", b"\x0a\x01\xff", b"{}"])
def test_a_request_that_says_nothing_is_refused(body: bytes) -> None:
    for codec in (JSON, PROTOBUF):
        with pytest.raises(BadCommand):
            codec.said(body)


def test_a_frame_has_several_commands() -> None:
    frame = spelled({"id": 1, "rpc": {}}) + b"\0" + spelled({"id": 2, "rpc": {}})
    assert PROTOBUF.decode(frame) == [commands.Rpc(1), commands.Pong(), commands.Rpc(2)]


def test_a_map_or_poll_subscription_says_so() -> None:
    assert PROTOBUF.decode(b"\x09\x08\x02\x2a\x05\x0a\x01a\x78\x01") == [
        commands.Subscribe(2, "a", type=1)
    ]


def test_a_command_of_a_later_version_is_answered() -> None:
    assert PROTOBUF.decode(b"\x05\x08\x0a\xba\x01\x00") == [commands.Unknown(10)]


@pytest.mark.parametrize(
    ("written", "data"),
    [
        (b'{"b" :\n1}', b'{"b":1}'),
        (b'{"b" :\r1}', b'{"b":1}'),
        (b'{"b" : 1.50, "a": "\\u00f1"}', b'{"b" : 1.50, "a": "\\u00f1"}'),
        (b' "hi" ', b'"hi"'),
    ],
)
def test_data_is_one_line_and_else_as_it_was_written(written: bytes, data: bytes) -> None:
    command = theirs.Command(id=1, publish=theirs.PublishRequest(channel="a", data=written))
    found = PROTOBUF.decode(delimited(command.SerializeToString()))
    assert found == [commands.Publish(1, "a", data)]


@pytest.mark.parametrize("data", [b"\xff\x00", b"hello", b"{", b"[" * 2000, b'"\xff"'])
def test_data_that_is_no_json_is_refused_in_words_and_the_rest_goes_on(data: bytes) -> None:
    command = theirs.Command(id=1, publish=theirs.PublishRequest(channel="a", data=data))
    frame = delimited(command.SerializeToString()) + spelled({"id": 2, "rpc": {}})
    refused, other = PROTOBUF.decode(frame)
    assert isinstance(refused, commands.Unusable)
    assert (refused.id, refused.error.code) == (1, 107)
    assert "JSON" in refused.error.message
    assert other == commands.Rpc(2)


@pytest.mark.parametrize(
    "payload",
    [
        "{}",
        b"",
        b"\x80",
        b"\xff" * 10,
        b"\x02\x08",
        b"\x09\x08\x01\x42\x00",  # a command, but not as long as it says
        b"\x02\x08\x01",  # no method
        b"\x02\x22\x00",  # no id
        b"\x06\x08\x01\x22\x00\x3a\x00",  # two methods
        b"\x04\x08\x01\x5a\x00",  # ping
        b"\x05\x08\x01\x22\x01\xff",
        b"\x06\x62\x04\x0a\x02\xff\x00",  # send, which has no answer to say what is wrong
        b"\x07\x08\x01\x2a\x03\x0a\x01\xff",  # a channel that is no UTF-8
    ],
)
def test_what_is_no_command_is_refused(payload: str | bytes) -> None:
    with pytest.raises(BadCommand):
        PROTOBUF.decode(payload)


def test_json_does_not_come_in_binary_frames() -> None:
    with pytest.raises(BadCommand):
        JSON.decode(b"{}")


def _is_command_or_bad(payload: bytes) -> None:
    try:
        found = PROTOBUF.decode(payload)
    except BadCommand:
        return
    assert found


@given(st.binary())
def test_any_bytes_are_commands_or_a_bad_command(payload: bytes) -> None:
    _is_command_or_bad(payload)


@given(st.binary(max_size=100))
def test_any_message_is_a_command_or_a_bad_command(message: bytes) -> None:
    _is_command_or_bad(delimited(message))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("añ\n"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(1, 2**32 - 1), st.text(max_size=20), _JSON)
def test_what_a_client_publishes_is_read_as_it_was(id: int, channel: str, data: object) -> None:
    (command,) = PROTOBUF.decode(spelled({"id": id, "publish": {"channel": channel, "data": data}}))
    assert isinstance(command, commands.Publish)
    assert (command.id, command.channel, json.loads(command.data)) == (id, channel, data)
    assert b"\n" not in command.data


_INFO = ClientInfo("u", "c", b'{"n":"Ana"}', b"[1]")
_PUBLICATION = Publication(b'{"x":1}', 7, info=_INFO, tags=b'{"k":"v"}')
_SUB = results.SubscribeResult(
    True, 5, True, True, "e", 7, True, True, [_PUBLICATION], b'"hi"', True
)


@pytest.mark.parametrize(
    "answer",
    [
        codes.INTERNAL,
        codes.PERMISSION_DENIED,
        results.ConnectResult("c", "v", True, 60, {"a": _SUB}, 25, True, "s", "n"),
        _SUB,
        results.SubscribeResult(),
        results.UnsubscribeResult(),
        results.PublishResult(),
        results.PresenceResult({"c": _INFO}),
        results.PresenceStatsResult(2, 1),
        results.HistoryResult([_PUBLICATION], "e", 7),
        results.RefreshResult("c", "v", True, 9),
        results.SubRefreshResult(True, 9),
    ],
)
def test_an_answer_says_what_it_says_in_json(answer: Any) -> None:
    assert read(PROTOBUF.reply(3, answer)) == [json.loads(JSON.reply(3, answer))]


@pytest.mark.parametrize(
    ("channel", "push"),
    [
        ("a", results.Join(_INFO)),
        ("a", results.Leave(_INFO)),
        ("a", codes.POSITION_LOST),
        ("a", results.Subscribed(True, True, "e", 3, b"1")),
        ("a", _PUBLICATION),
        ("", results.Refreshed(True, 5)),
        ("", codes.SHUTDOWN),
    ],
)
def test_a_push_says_what_it_says_in_json(channel: str, push: results.Push) -> None:
    assert read(PROTOBUF.push(channel, push)) == [json.loads(JSON.push(channel, push))]


def test_messages_of_a_channel_go_out_together() -> None:
    ours = message(3)._replace(id=message_id("77", "c1"), tags=b'{"k":"v"}')
    first, *rest = read(PROTOBUF.publications("room", [message(1), message(2, b'"x"'), ours]))
    assert first == {"push": {"channel": "room", "pub": {"data": {"a": 1}, "offset": 1}}}
    assert rest == [
        json.loads(line)
        for line in JSON.publications("room", [message(2, b'"x"'), ours]).split(b"\n")
    ]
    # The public client's schema is older than this field.
    payload = PROTOBUF.publications("room", [message(1)])
    assert OurReply.FromString(payload[1:]).push.pub.epoch == "e1"
    payload = PROTOBUF.publications("room", [message(2)])
    assert OurReply.FromString(payload[1:]).push.pub.epoch == ""


def test_a_difference_goes_as_bytes() -> None:
    payload = PROTOBUF.deltas("room", [message(2), message(3)], [None, b"patch"])
    first, second = (theirs.Reply.FromString(each).push.pub for each in _split_in_two(payload))
    assert (first.data, first.delta) == (b'{"a":1}', False)
    assert (second.data, second.delta, second.offset) == (b"patch", True, 3)


def _split_in_two(payload: bytes) -> tuple[bytes, bytes]:
    end = payload[0] + 1
    return payload[1:end], payload[end + 1 :]


def test_a_difference_in_a_list_goes_as_bytes() -> None:
    chained = Publication(b'{"a":1}', 2, is_text=True, patch=b"patch")
    reply = PROTOBUF.reply(1, results.SubscribeResult(publications=[chained]))
    (pub,) = OurReply.FromString(reply[1:]).subscribe.publications
    assert (pub.data, pub.delta, pub.offset) == (b"patch", True, 2)


def test_a_text_for_json_is_bytes_here() -> None:
    reply = PROTOBUF.reply(
        1, results.SubscribeResult(publications=[Publication(b"1", 2, is_text=True)])
    )
    assert read(reply) == [{"id": 1, "subscribe": {"publications": [{"data": 1, "offset": 2}]}}]


@given(st.binary(min_size=0, max_size=40_000))
def test_lengths_are_those_that_the_public_client_reads(data: bytes) -> None:
    payload = PROTOBUF.publications("room", [message(2, data)])
    assert (
        delimited(
            theirs.Reply.FromString(payload[len(payload) - _size(payload) :]).SerializeToString()
        )
        == payload
    )


def _size(payload: bytes) -> int:
    size = shift = at = 0
    while payload[at] > 127:
        size, shift, at = size | (payload[at] & 127) << shift, shift + 7, at + 1
    return size | payload[at] << shift


def test_a_ping_is_an_empty_reply() -> None:
    assert read(PROTOBUF.joined([PROTOBUF.ping, PROTOBUF.ping])) == [{}, {}]
    assert PROTOBUF.decode(PROTOBUF.ping) == [commands.Pong()]

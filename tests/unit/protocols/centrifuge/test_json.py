"""The JSON spelling, command by command, and whatever else may arrive."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Message, Position, message_id
from gateway.protocols.centrifuge import codes, commands, results
from gateway.protocols.centrifuge.commands import BadCommand, Command
from gateway.protocols.centrifuge.json import JSON
from gateway.protocols.centrifuge.results import ClientInfo, Publication


def decoded(value: object) -> Command:
    (command,) = JSON.decode(json.dumps(value))
    return command


def shown(payload: bytes) -> Any:
    assert b"\n" not in payload
    return json.loads(payload)


def message(offset: int, data: bytes = b'{"a":1}', channel: str = "room") -> Message:
    return Message(channel, data, "id", "alice", 1.5, Position("e1", offset))


# Reading.


@pytest.mark.parametrize(
    ("value", "command"),
    [
        ({}, commands.Pong()),
        ({"id": 1, "connect": {}}, commands.Connect(1)),
        (
            {
                "id": 1,
                "connect": {
                    "token": "t",
                    "data": {"x": 1},
                    "name": "js",
                    "version": "5",
                    "subs": {
                        "a": {"recover": True, "epoch": "e", "offset": 7},
                        "b": {"recover": False},
                    },
                    "headers": {"x": "y"},
                    "flag": 1,
                },
            },
            commands.Connect(1, "t", b'{"x":1}', "js", "5", {"a": Position("e", 7), "b": None}),
        ),
        ({"id": 2, "subscribe": {"channel": "a"}}, commands.Subscribe(2, "a")),
        (
            {"id": 2, "subscribe": {"channel": "a", "delta": "fossil"}},
            commands.Subscribe(2, "a", delta="fossil"),
        ),
        (
            {"id": 2, "subscribe": {"channel": "a", "recover": True, "flag": 1}},
            commands.Subscribe(2, "a", since=Position("", 0)),
        ),
        (
            {
                "id": 2,
                "subscribe": {
                    "channel": "a",
                    "token": "t",
                    "data": None,
                    "recover": True,
                    "epoch": "e",
                    "offset": 3,
                    "flag": 3,
                    "type": 1,
                },
            },
            commands.Subscribe(2, "a", "t", b"null", Position("e", 3), rejects_gap=True, type=1),
        ),
        ({"id": 3, "unsubscribe": {"channel": "a"}}, commands.Unsubscribe(3, "a")),
        ({"id": 4, "publish": {"channel": "a", "data": "x"}}, commands.Publish(4, "a", b'"x"')),
        ({"id": 4, "publish": {"channel": "a"}}, commands.Publish(4, "a", b"")),
        ({"id": 5, "presence": {"channel": "a"}}, commands.Presence(5, "a")),
        ({"id": 5, "presence_stats": {"channel": "a"}}, commands.PresenceStats(5, "a")),
        ({"id": 6, "history": {"channel": "a"}}, commands.History(6, "a")),
        (
            {
                "id": 6,
                "history": {
                    "channel": "a",
                    "limit": -1,
                    "since": {"offset": 1, "epoch": "e"},
                    "reverse": True,
                },
            },
            commands.History(6, "a", -1, Position("e", 1), is_reverse=True),
        ),
        ({"id": 7, "rpc": {"method": "m", "data": [1]}}, commands.Rpc(7, "m", b"[1]")),
        ({"id": 8, "refresh": {"token": "t"}}, commands.Refresh(8, "t")),
        (
            {"id": 9, "sub_refresh": {"channel": "a", "token": "t"}},
            commands.SubRefresh(9, "a", "t"),
        ),
        ({"send": {"data": 1}}, commands.Send(b"1")),
        ({"id": 1, "send": {"data": 1}}, commands.Send(b"1")),
        ({"id": 10, "later": {"than": "us"}}, commands.Unknown(10)),
        ({"id": 3, "connect": None, "unsubscribe": {"channel": "a"}}, commands.Unsubscribe(3, "a")),
    ],
)
def test_a_command_is_read(value: object, command: Command) -> None:
    assert decoded(value) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        " \n ",
        "x",
        "[]",
        "1",
        '"a"',
        "null",
        '{"id":1}',
        '{"id":0,"connect":{}}',
        '{"connect":{}}',
        '{"id":-1,"connect":{}}',
        '{"id":4294967296,"connect":{}}',
        '{"id":1.5,"connect":{}}',
        '{"id":true,"connect":{}}',
        '{"id":"1","connect":{}}',
        '{"id":1,"connect":[]}',
        '{"id":1,"connect":{},"publish":{}}',
        '{"id":1,"ping":{}}',
        '{"id":1,"connect":{"token":1}}',
        '{"id":1,"connect":{"subs":[]}}',
        '{"id":1,"connect":{"subs":{"a":1}}}',
        '{"id":1,"subscribe":{"channel":1}}',
        '{"id":1,"subscribe":{"channel":"a","recover":1}}',
        '{"id":1,"subscribe":{"channel":"a","offset":-1}}',
        '{"id":1,"subscribe":{"channel":"a","offset":"1"}}',
        '{"id":1,"history":{"channel":"a","since":1}}',
        '{"id":1,"history":{"channel":"a","limit":2147483648}}',
        '{"send":1}',
        '{"id":1,"connect":{}}\nx',
        '{"id":1,"connect":{}} {"id":2,"connect":{}}',
        '{"id":1,"publish":{"channel":"a","data":"\\ud800"}}',
        '{"id":1,"publish":{"channel":"a","data":' + "[" * 300 + "]" * 300 + "}}",
        "[" * 2000,
    ],
)
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(BadCommand):
        JSON.decode(text)


def test_a_frame_has_as_many_commands_as_lines() -> None:
    frame = '{"id":1,"rpc":{}}\n\n{}\n{"id":2,"rpc":{}}\n'
    assert JSON.decode(frame) == [commands.Rpc(1), commands.Pong(), commands.Rpc(2)]


def test_data_is_one_line_however_it_was_written() -> None:
    text = '{"id":1,"publish":{"channel":"a","data":{"b" : "line\\nfeed",\r"c":[1, 2]}}}'
    assert JSON.decode(text) == [commands.Publish(1, "a", b'{"b":"line\\nfeed","c":[1,2]}')]


@pytest.mark.parametrize("epoch", ["x" * 33, "e:1", "é", "a b", "\x00"])
def test_what_cannot_be_an_epoch_matches_none(epoch: str) -> None:
    command = decoded({"id": 1, "subscribe": {"channel": "a", "recover": True, "epoch": epoch}})
    assert command == commands.Subscribe(1, "a", since=Position("_", 0))


def test_an_offset_is_one_that_every_reader_of_json_understands() -> None:
    since = {"recover": True, "epoch": "e", "offset": 2**64 - 1}
    command = decoded({"id": 1, "subscribe": {"channel": "a", **since}})
    assert command == commands.Subscribe(1, "a", since=Position("e", 10**15 - 1))


@given(st.text())
def test_any_text_is_commands_or_a_bad_command(text: str) -> None:
    try:
        found = JSON.decode(text)
    except BadCommand:
        return
    assert found


_NAMES = """
id connect subscribe publish history presence refresh sub_refresh send rpc subs since channel
token data recover epoch offset limit reverse flag type method
"""
_KEYS = st.sampled_from(_NAMES.split()) | st.text(max_size=3)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=3))
def test_any_object_is_a_command_or_a_bad_command(value: dict[str, object]) -> None:
    try:
        found = JSON.decode(json.dumps(value))
    except BadCommand:
        return
    assert len(found) == 1


# Writing.


def test_what_is_empty_is_left_out() -> None:
    reply = JSON.reply(3, results.SubscribeResult())
    assert reply == b'{"id":3,"subscribe":{}}'
    assert JSON.reply(3, results.UnsubscribeResult()) == b'{"id":3,"unsubscribe":{}}'


def test_what_readers_expect_is_always_there() -> None:
    assert shown(JSON.reply(1, results.HistoryResult([], "", 0))) == {
        "id": 1,
        "history": {"publications": [], "epoch": "", "offset": 0},
    }
    stats = results.PresenceStatsResult(0, 0)
    assert shown(JSON.reply(1, stats))["presence_stats"] == {"num_clients": 0, "num_users": 0}
    presence = results.PresenceResult({"c": ClientInfo("", "c")})
    assert shown(JSON.reply(1, presence))["presence"] == {
        "presence": {"c": {"user": "", "client": "c"}}
    }
    assert shown(JSON.reply(1, results.PresenceResult({})))["presence"] == {"presence": {}}


def test_an_error_says_whether_it_passes() -> None:
    assert shown(JSON.reply(1, codes.PERMISSION_DENIED)) == {
        "id": 1,
        "error": {"code": 103, "message": "permission denied"},
    }
    assert shown(JSON.reply(1, codes.INTERNAL))["error"]["temporary"] is True


def test_a_connect_result_carries_what_its_channels_answer() -> None:
    sub = results.SubscribeResult(recoverable=True, positioned=True, epoch="e", offset=2)
    result = results.ConnectResult("id", "v", True, 60, {"a": sub}, 25, True)
    assert shown(JSON.reply(1, result))["connect"] == {
        "client": "id",
        "version": "v",
        "expires": True,
        "ttl": 60,
        "subs": {"a": {"recoverable": True, "positioned": True, "epoch": "e", "offset": 2}},
        "ping": 25,
        "pong": True,
    }


def test_data_and_infos_are_embedded_as_they_are() -> None:
    info = ClientInfo("u", "c", b'{"name":"Ana"}', b"[1]")
    publications = [Publication(b'{"big":12345678901234567890.5}', 1, info=info)]
    result = results.SubscribeResult(publications=publications, data=b"null")
    reply = JSON.reply(1, result)
    assert b'"data":{"big":12345678901234567890.5}' in reply
    assert shown(reply)["subscribe"]["data"] is None
    assert shown(reply)["subscribe"]["publications"][0]["info"] == {
        "user": "u",
        "client": "c",
        "conn_info": {"name": "Ana"},
        "chan_info": [1],
    }


def test_messages_of_a_channel_go_out_together() -> None:
    payload = JSON.publications("room", [message(1), message(2, b'"x"')])
    first, second = (json.loads(line) for line in payload.split(b"\n"))
    pub = {"data": {"a": 1}, "offset": 1, "epoch": "e1"}
    assert first == {"push": {"channel": "room", "pub": pub}}
    assert second == {"push": {"channel": "room", "pub": {"data": "x", "offset": 2}}}


def test_a_difference_in_a_list_goes_as_a_text_where_that_is_shorter() -> None:
    whole = Publication(b'{"text":"as long as it takes"}', 2, is_text=True)
    for patch, data in ((b"patch", "patch"), (b"\n" * 14, whole.data.decode())):
        chained = whole._replace(patch=patch)
        reply = JSON.reply(1, results.SubscribeResult(publications=[chained]))
        is_patch = {"delta": True} if data == "patch" else {}
        (pub,) = shown(reply)["subscribe"]["publications"]
        assert pub == {"data": data, "offset": 2, **is_patch}


def test_a_message_of_a_client_says_whose_it_is() -> None:
    ours = message(2)._replace(id=message_id("77", "c1"))
    assert shown(JSON.publications("room", [ours]))["push"]["pub"] == {
        "data": {"a": 1},
        "offset": 2,
        "info": {"user": "alice", "client": "c1"},
    }
    assert results.publication_of(ours).info == ClientInfo("alice", "c1")
    assert results.publication_of(message(2)).info is None


def test_a_message_of_a_client_says_what_that_shows_of_itself() -> None:
    info = ClientInfo("alice", "c1", b'{"name":"Ana"}', b"null")
    ours = message(2)._replace(id=message_id("77", "c1"), info=info.shown())
    assert results.publication_of(ours).info == info
    for bare in (ClientInfo("alice", "c1"), info._replace(conn_info=b'"%b"' % (b"x" * 2048))):
        assert bare.shown() == b""


def test_pushes_name_their_channel() -> None:
    assert shown(JSON.push("a", codes.POSITION_LOST)) == {
        "push": {"channel": "a", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}
    }
    join = results.Join(ClientInfo("u", "c"))
    assert shown(JSON.push("a", join)) == {
        "push": {"channel": "a", "join": {"info": {"user": "u", "client": "c"}}}
    }
    assert "leave" in shown(JSON.push("a", results.Leave(join.info)))["push"]


_JSON_DATA = _VALUES.map(lambda value: json.dumps(value, ensure_ascii=False).encode()).filter(
    lambda data: b"\n" not in data
)


@given(st.lists(_JSON_DATA, min_size=1, max_size=5), st.integers(1, 10**15 - 10))
def test_what_is_published_arrives_as_it_was(data: list[bytes], offset: int) -> None:
    messages = [message(offset + index, each) for index, each in enumerate(data)]
    lines = JSON.publications("room", messages).split(b"\n")
    pubs = [json.loads(line)["push"]["pub"] for line in lines]
    assert [pub["data"] for pub in pubs] == [json.loads(each) for each in data]
    assert [pub["offset"] for pub in pubs] == [offset + index for index in range(len(data))]


def test_payloads_are_joined_by_line() -> None:
    assert JSON.joined([b"{}", b'{"id":1}']) == b'{}\n{"id":1}'
    assert JSON.ping == b"{}"

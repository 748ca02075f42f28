"""The spelling for clients that speak once."""

import json

import pytest

from gateway.domain.messages import Message, Position
from gateway.protocols.centrifuge import codes, results
from gateway.protocols.centrifuge.commands import BadCommand, Connect
from gateway.protocols.centrifuge.one_way import ONE_WAY_JSON

MESSAGE = Message("room", b'"hi"', "m1", "paula", 1.5, Position("e", 7))


@pytest.mark.parametrize(
    ("said", "subs"),
    [
        ("", {}),
        (" \n", {}),
        ("{}", {}),
        ('{\n "subs": {"a": {},\n "b": {"recover": true, "offset": 3, "epoch": "e"}}\n}\n', None),
    ],
)
def test_what_it_says_is_a_connect(said: str, subs: object) -> None:
    wanted = {"a": None, "b": Position("e", 3)} if subs is None else subs
    assert ONE_WAY_JSON.decode(said) == [Connect(1, subs=wanted)]  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["x", "[]", "null", "1", '{},"rpc":{}', '{"token":1}', "[" * 500])
def test_anything_else_is_a_bad_command(said: str) -> None:
    with pytest.raises(BadCommand):
        ONE_WAY_JSON.decode(said)


def test_everything_is_a_bare_push() -> None:
    connected = ONE_WAY_JSON.reply(1, results.ConnectResult("c", "v", ping=25))
    assert json.loads(connected) == {"connect": {"client": "c", "version": "v", "ping": 25}}
    assert json.loads(ONE_WAY_JSON.push("", codes.SHUTDOWN)) == {
        "disconnect": {"code": 3001, "reason": "shutdown"}
    }
    lines = ONE_WAY_JSON.publications("room", [MESSAGE, MESSAGE]).split(b"\n")
    pub = {"channel": "room", "pub": {"data": "hi", "offset": 7}}
    assert [json.loads(line) for line in lines] == [pub, pub]

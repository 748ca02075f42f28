"""What a client says over its socket: who hears it, and what becomes of the rest."""

import json

import pytest

from gateway.domain.principal import Action
from tests.support.clients import RawClient, client_frame, make_token, publish_now
from tests.support.servers import GatewayProcess

BURST = 500


@pytest.mark.parametrize(
    ("query", "text", "data"),
    [
        ("", "Hola canal", "Hola canal"),
        ("", "[1, 2]", "[1, 2]"),
        ("", '{"data": {"n": 1}}', {"n": 1}),
        ("", '{"data": null}', None),
        ("", ' {"a": 1, "data": 2}', {"a": 1, "data": 2}),
        ("", "é \U0001f600", "é \U0001f600"),
        ("", "", ""),
        ("?format=text", '{"data": 1}', '{"data": 1}'),
        ("?format=raw", '{"data": 1}', '{"data": 1}'),
    ],
)
def test_what_a_publisher_says_is_published_to_all(
    gateway: GatewayProcess,
    channel: str,
    publisher: str,
    listener: str,
    query: str,
    text: str,
    data: object,
) -> None:
    with (
        RawClient(gateway.port).listen(channel, listener) as one,
        RawClient(gateway.port).listen(channel, listener) as another,
        RawClient(gateway.port).listen(channel, publisher, query) as speaker,
    ):
        speaker.say(text)
        message = one.read_json()
        assert (message["data"], message["user"], message["channel"]) == (data, "paula", channel)
        assert another.read_json() == message
        speaker.read_text()  # who speaks also listens


def test_a_message_in_fragments_is_one_message(
    gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    parts = [bytes([byte]) for byte in "añ\U0001f600z".encode()]
    with RawClient(gateway.port).listen(channel, publisher) as speaker:
        for index, part in enumerate(parts):
            opcode = 0 if index else 1
            speaker.send(client_frame(opcode, part, fin=index == len(parts) - 1))
            if index == 2:
                speaker.send(client_frame(9, b"in between"))
        assert speaker.read_frame() == (10, b"in between")
        assert speaker.read_json()["data"] == "añ\U0001f600z"


@pytest.mark.parametrize(
    ("query", "token", "rule"),
    [
        ("", make_token("alice"), "role: "),
        ("?format=text", make_token("alice", "reader"), "role: "),
        ("", make_token("alice", "publisher", grants={Action.PUBLISH: ["other"]}), "grant: "),
    ],
)
def test_who_may_not_publish_is_told_so_and_nothing_is_sent(
    gateway: GatewayProcess, channel: str, publisher: str, query: str, token: str, rule: str
) -> None:
    with RawClient(gateway.port).listen(channel, token, query) as client:
        client.say("not for you to say")
        notice = client.read_json()
        publish_now(gateway.http, channel, "said", publisher)
        following = client.read_text()

    assert (notice["type"], notice["error"]) == ("error", "denied")
    assert notice["detail"].startswith(rule)
    assert "data" not in notice
    assert "said" in following
    assert "not for you to say" not in following


def test_raw_has_no_room_for_a_notice_so_the_socket_is_closed(
    gateway: GatewayProcess, channel: str, publisher: str, listener: str
) -> None:
    with (
        RawClient(gateway.port).listen(channel, listener) as bystander,
        RawClient(gateway.port).listen(channel, listener, "?format=raw") as client,
    ):
        client.say("one")
        client.say("two")
        code, reason = client.read_close()
        publish_now(gateway.http, channel, "said", publisher)
        assert bystander.read_json()["data"] == "said"

    assert code == 1008
    assert reason.startswith("role: ")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"data": NaN}',
        '{"data": 1} and more',
        '{"a": "\\ud800"}',
        '{"a":' + "[" * 3000 + "]" * 3000 + "}",
    ],
)
def test_a_broken_object_is_answered_with_a_notice_and_the_socket_lives(
    gateway: GatewayProcess, channel: str, publisher: str, text: str
) -> None:
    with RawClient(gateway.port).listen(channel, publisher) as speaker:
        speaker.say(text)
        notice = speaker.read_json()
        speaker.say("still here")
        assert speaker.read_json()["data"] == "still here"

    assert (notice["type"], notice["error"]) == ("error", "invalid_request")


def test_a_binary_message_is_answered_with_a_notice_and_the_socket_lives(
    gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    with RawClient(gateway.port).listen(channel, publisher) as speaker:
        speaker.send(client_frame(2, b"\xff\x00"))
        speaker.send(client_frame(2, b"\xff", fin=False) + client_frame(0, b"\xfe"))
        notices = [speaker.read_json() for _ in range(2)]
        speaker.say("still here")
        assert speaker.read_json()["data"] == "still here"

    assert [notice["error"] for notice in notices] == ["invalid_request"] * 2


def test_a_message_just_within_the_limit_is_published(
    gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    text = "é" * 32_768  # 65,536 bytes
    with RawClient(gateway.port).listen(channel, publisher) as speaker:
        speaker.say(text)
        assert speaker.read_json()["data"] == text


def test_a_burst_keeps_its_order(
    gateway: GatewayProcess, channel: str, publisher: str, listener: str
) -> None:
    with (
        RawClient(gateway.port).listen(channel, listener) as client,
        RawClient(gateway.port).listen(channel, publisher) as speaker,
    ):
        speaker.send(b"".join(client_frame(1, b"%d" % n) for n in range(BURST)))
        messages = [client.read_json() for _ in range(BURST)]

    assert [message["data"] for message in messages] == [str(n) for n in range(BURST)]
    first = messages[0]["offset"]
    assert [message["offset"] for message in messages] == list(range(first, first + BURST))


@pytest.mark.parametrize("goodbye", [client_frame(8, b"\x03\xe8"), b""])
def test_what_was_said_before_leaving_is_published(
    gateway: GatewayProcess, channel: str, publisher: str, listener: str, goodbye: bytes
) -> None:
    with RawClient(gateway.port).listen(channel, listener) as client:
        with RawClient(gateway.port).listen(channel, publisher) as speaker:
            frames = b"".join(client_frame(1, b"%d" % n) for n in range(BURST))
            speaker.send(frames + goodbye)
            speaker.finish()
        said = [json.loads(client.read_text())["data"] for _ in range(BURST)]

    assert said == [str(n) for n in range(BURST)]


def test_thousands_of_messages_in_one_breath_are_all_published(
    gateway: GatewayProcess, channel: str, publisher: str, listener: str
) -> None:
    count = 20_000  # more than may wait for delivery at any one time
    with RawClient(gateway.port).listen(channel, listener) as client:
        with RawClient(gateway.port).listen(channel, publisher) as speaker:
            speaker.send(client_frame(1, b"x") * count)
            speaker.finish()
        messages = [client.read_json() for _ in range(count)]

    assert {message.get("data") for message in messages} == {"x"}

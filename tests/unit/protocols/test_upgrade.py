"""The opening handshake, with the client of another implementation on the other side."""

import base64
import contextlib
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from gateway.protocols.upgrade import BadUpgrade, Upgrade, accept_upgrade, parse_upgrade

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def head(target: str = "/ws/room", *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def handshake(**headers: str) -> Upgrade:
    given = {"sec-websocket-version": "13", "sec-websocket-key": KEY}
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    return Upgrade("/ws/room", {}, given | changed)


# Reading.


def test_a_request_is_taken_apart() -> None:
    upgrade = parse_upgrade(
        head("/ws/user%3Aalice?token=a.jwt&format=text&x=", "Host: gateway.example", "X-Y:  z ")
    )
    assert upgrade.path == "/ws/user:alice"
    assert upgrade.query == {"token": ["a.jwt"], "format": ["text"], "x": [""]}
    assert upgrade.headers == {"host": "gateway.example", "x-y": "z"}


def test_header_names_are_in_lower_case_and_values_as_they_were() -> None:
    upgrade = parse_upgrade(head("/", "SEC-WebSocket-Key: AbC", "Authorization: Bearer aB:c"))
    assert upgrade.headers == {"sec-websocket-key": "AbC", "authorization": "Bearer aB:c"}


def test_a_repeated_header_is_one_list() -> None:
    upgrade = parse_upgrade(
        head("/", "Sec-WebSocket-Protocol: bearer", "sec-websocket-protocol: a.jwt")
    )
    assert upgrade.headers == {"sec-websocket-protocol": "bearer, a.jwt"}


def test_a_repeated_parameter_keeps_all_its_values() -> None:
    assert parse_upgrade(head("/?token=a&token=b")).query == {"token": ["a", "b"]}


def test_a_path_is_decoded_once() -> None:
    assert parse_upgrade(head("/ws/%2541%23")).path == "/ws/%41#"


@pytest.mark.parametrize("target", ["/ws/%FF", "/ws/\xff", "/ws/%C3%28", "/ws/%00", "/ws/%0d%0a"])
def test_a_path_that_is_no_text_names_no_channel(target: str) -> None:
    """S34: whatever becomes of it, the grammar of channels refuses it."""
    path = parse_upgrade(head(target)).path
    assert not path.removeprefix("/ws/").isascii() or not path.isprintable()


@pytest.mark.parametrize("method", ["POST", "PUT", "get", "HEAD", "", "GETS"])
def test_another_method_is_refused_with_the_allowed_one(method: str) -> None:
    with pytest.raises(BadUpgrade) as refusal:
        parse_upgrade(head(method=method))
    assert refusal.value.status == 405
    assert refusal.value.headers == (("Allow", "GET"),)


def test_a_flood_of_parameters_is_refused() -> None:
    parse_upgrade(head("/?" + "&".join(["x=1"] * 50)))
    with pytest.raises(BadUpgrade) as refusal:
        parse_upgrade(head("/?" + "&".join(["x=1"] * 51)))
    assert refusal.value.status == 400


@given(st.binary(max_size=200) | st.binary(max_size=200).map(b"GET ".__add__))
def test_no_bytes_raise_anything_but_a_bad_upgrade(data: bytes) -> None:
    with contextlib.suppress(BadUpgrade):
        upgrade = parse_upgrade(data)
        assert all(name == name.lower().strip() for name in upgrade.headers)


@given(
    target=st.text(st.characters(codec="latin-1"), max_size=60).map("/ws/?".__add__)
    | st.text("%0123456789abcdef?&=;+/", max_size=60),
    lines=st.lists(st.text(st.characters(codec="latin-1"), max_size=30), max_size=5),
)
def test_no_request_raises_anything_but_a_bad_upgrade(target: str, lines: list[str]) -> None:
    with contextlib.suppress(BadUpgrade):
        parse_upgrade(head(target, *lines))


# Accepting.


def test_the_example_of_the_standard_is_answered_as_it_says() -> None:
    response = accept_upgrade(handshake(), None)
    assert response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
    )


@pytest.mark.parametrize("subprotocol", [None, "bearer"])
def test_another_implementation_opens_its_side(subprotocol: str | None) -> None:
    offered = [Subprotocol("bearer"), Subprotocol("a.jwt")]
    client = ClientProtocol(parse_uri("ws://gateway.example/ws/room"), subprotocols=offered)
    request = client.connect()
    upgrade = parse_upgrade(request.serialize())
    client.send_request(request)
    client.receive_data(accept_upgrade(upgrade, subprotocol))
    assert client.handshake_exc is None
    assert client.state is OPEN
    assert client.subprotocol == subprotocol
    assert upgrade.headers["sec-websocket-protocol"] == "bearer, a.jwt"


@pytest.mark.parametrize("version", ["", "8", "12", "14", "013", "13, 8", "13.0"])
def test_another_version_is_refused_with_the_spoken_one(version: str) -> None:
    """RFC 6455 section 4.4"""
    with pytest.raises(BadUpgrade) as refusal:
        accept_upgrade(handshake(sec_websocket_version=version), None)
    assert refusal.value.status == 426
    assert refusal.value.headers == (("Sec-WebSocket-Version", "13"),)


def test_a_request_without_a_version_or_a_key_is_refused() -> None:
    for missing, status in (("sec-websocket-version", 426), ("sec-websocket-key", 400)):
        upgrade = handshake()
        del upgrade.headers[missing]
        with pytest.raises(BadUpgrade) as refusal:
            accept_upgrade(upgrade, None)
        assert refusal.value.status == status


@pytest.mark.parametrize(
    "key",
    ["", "a", KEY[:-1], KEY + "=", KEY + " ", f"{KEY}, {KEY}", "é" * 24, "a\r\nX: y"]
    + [base64.b64encode(bytes(length)).decode() for length in (0, 15, 17, 32)],
)
def test_a_key_that_is_not_sixteen_bytes_is_refused(key: str) -> None:
    with pytest.raises(BadUpgrade) as refusal:
        accept_upgrade(handshake(sec_websocket_key=key), None)
    assert refusal.value.status == 400
    assert refusal.value.detail == "Sec-WebSocket-Key is 16 bytes in base64"


@given(key=st.text(max_size=40) | st.binary(max_size=20).map(base64.b64encode).map(bytes.decode))
def test_whatever_is_accepted_is_one_response_head(key: str) -> None:
    try:
        response = accept_upgrade(handshake(sec_websocket_key=key), "bearer")
    except BadUpgrade:
        return
    assert response.startswith(b"HTTP/1.1 101 ")
    assert response.endswith(b"\r\nSec-WebSocket-Protocol: bearer\r\n\r\n")
    assert response.count(b"\r\n") == 6


@given(st.text(st.sampled_from("ab=&%+2C;é"), max_size=20))
def test_a_query_is_read_as_urllib_reads_it(query: str) -> None:
    text = query.encode().decode("latin-1")  # the bytes of the request line
    head = f"GET /ws/a?{text} HTTP/1.1\r\nHost: h\r\n\r\n".encode("latin-1")
    assert parse_upgrade(head).query == parse_qs(text, keep_blank_values=True)

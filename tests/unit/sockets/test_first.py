"""The handshakes that skip the HTTP parser are those that it would read in the same way."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.protocols.upgrade import parse_upgrade
from gateway.sockets.first import is_plain_handshake
from gateway.sockets.http import HEADER_BYTES_MAX, HEADERS_MAX

CLIENT_PATH = b"/connection/websocket"
HANDSHAKE = (
    b"GET /ws/news?token=abc HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Parsed:
    """What httptools makes of a head."""

    def __init__(self, head: bytes) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}
        self.ends_in_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self.ends_in_upgrade = True

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text


line = st.one_of(
    st.sampled_from(
        [
            b"Upgrade: websocket",
            b"upgrade:WebSocket ",
            b"Upgrade: h2c",
            b"Connection: Upgrade",
            b"connection: close,\tupgrade , x",
            b"Connection: notupgrade",
            b"Content-Length: 5",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Host: h",
            b" folded",
            b"no colon",
            b"bad name: x",
            b"X: a\rb",
            b"X: a\nb",
            b"X: a\x00b",
            b"X: \xe9",
            b"X:",
            b"",
        ]
    ),
    st.binary(max_size=12),
)


@given(
    st.sampled_from([b"GET", b"POST", b"get", b"GET ", b""]),
    st.one_of(
        st.sampled_from(
            [b"/ws/a", b"/ws/a?b=%20", b"/connection/websocket?a=b", b"/other", b"ws/a"]
        ),
        st.binary(),
    ),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b""]),
    st.lists(line, max_size=6),
)
@example(b"GET", b"/ws/a", b"HTTP/1.1", [b"Upgrade: websocket", b"Connection: Upgrade"])
def test_what_is_plain_is_read_as_the_parser_reads_it(
    method: bytes, url: bytes, version: bytes, lines: list[bytes]
) -> None:
    head = b"\r\n".join([method + b" " + url + b" " + version, *lines, b"", b""])
    if not is_plain_handshake(head):
        return
    parsed, upgrade = Parsed(head), parse_upgrade(head)
    assert parsed.ends_in_upgrade
    assert parsed.parser.get_method() == b"GET"
    assert parsed.headers == upgrade.headers
    assert parsed.headers["upgrade"].lower() == "websocket"


@pytest.mark.parametrize("query", [b"", b"?cf_ws_frame_ping_pong=true"])
def test_one_of_a_client_of_many_channels_is_plain(query: bytes) -> None:
    assert is_plain_handshake(HANDSHAKE.replace(b"/ws/news?token=abc", CLIENT_PATH + query))


@pytest.mark.parametrize("path", [b"/connection/websocket/", b"/connection/websockets", b"/"])
def test_a_path_beside_it_goes_the_long_way(path: bytes) -> None:
    assert not is_plain_handshake(HANDSHAKE.replace(b"/ws/news?token=abc", path))


def test_an_ordinary_handshake_is_plain() -> None:
    assert is_plain_handshake(HANDSHAKE)
    assert is_plain_handshake(HANDSHAKE.replace(b"Upgrade: websocket", b"upgrade:\tWebSocket "))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET", b"POST"),
        (b"/ws/news", b"/elsewhere"),
        (b"/ws/news", b"/ws/ne ws"),
        (b"/ws/news", b"/ws/news#part"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        (b", Upgrade", b""),
        (b"Host: h", b"Content-Length: 3"),
        (b"Host: h", b"transfer-encoding: chunked"),
        (b"Host: h", b"Expect: 100-continue"),
        (b"Host: h", b"Host : h"),
        (b"Host: h", b"Host: h\r\n folded"),
        (b"Host: h", b"Host: h\nX: y"),
        (b"Host: h", b"Host: \x00"),
        (b"Host: h", b"X: " + b"x" * HEADER_BYTES_MAX),
        (b"Host: h", b"\r\n".join([b"X: y"] * HEADERS_MAX)),
        (b"\r\n\r\n", b"\r\n"),
        (b"\r\n\r\n", b"\r\n\r\nmore"),
    ],
)
def test_anything_unusual_goes_the_long_way(old: bytes, new: bytes) -> None:
    assert not is_plain_handshake(HANDSHAKE.replace(old, new))

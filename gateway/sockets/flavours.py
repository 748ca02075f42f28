"""Which spelling of the Centrifuge protocol a handshake asks for, and its wires."""

from collections.abc import Callable
from typing import NamedTuple

from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.wire import ClientWire
from gateway.protocols.centrifuge.codec import Codec, protobuf_is_installed
from gateway.protocols.centrifuge.json import JSON
from gateway.protocols.centrifuge.one_way import ONE_WAY_JSON
from gateway.protocols.compression import compressed_binary_frame, compressed_text_frame
from gateway.protocols.credentials import subprotocols
from gateway.protocols.frames import binary_frame, text_frame
from gateway.protocols.upgrade import Upgrade

CLIENT_PATH = "/connection/websocket"
ONE_WAY_PATH = "/connection/uni_websocket"
CLIENT_PATHS = frozenset((CLIENT_PATH, ONE_WAY_PATH))
NO_PROTOBUF = "Protobuf is not spoken here"
BINARY_MEDIA_TYPE = "application/octet-stream"
_JSON_SUBPROTOCOL, _PROTOBUF_SUBPROTOCOL = "centrifuge-json", "centrifuge-protobuf"


class Flavour(NamedTuple):
    """A spelling on a WebSocket; all its clients share each wire, and what is encoded for it.

    ``frame_of`` makes what one client alone is told. ``messages`` is for a server that makes the
    frames.
    """

    frame_of: Callable[[bytes], bytes]
    frames: ClientWire
    compressed_frames: ClientWire
    messages: ClientWire
    is_binary: bool


def _flavour(
    codec: Codec,
    frame_of: Callable[[bytes], bytes],
    compressed_frame_of: Callable[[bytes], bytes],
    *,
    is_binary: bool,
) -> Flavour:
    frames, compressed = ClientWire(codec, frame_of), ClientWire(codec, compressed_frame_of)
    return Flavour(frame_of, frames, compressed, ClientWire(codec, bytes), is_binary)


def _protobuf() -> Flavour | None:
    """None where the extra is not installed."""
    if not protobuf_is_installed():
        return None
    from gateway.protocols.centrifuge.protobuf import PROTOBUF

    return _flavour(PROTOBUF, binary_frame, compressed_binary_frame, is_binary=True)


def _each_in_its_frame(frame_of: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Who has no library of the protocol reads one object a frame."""
    return lambda payload: b"".join(map(frame_of, payload.split(b"\n")))


JSON_FLAVOUR = _flavour(JSON, text_frame, compressed_text_frame, is_binary=False)
ONE_WAY_FLAVOUR = _flavour(
    ONE_WAY_JSON,
    _each_in_its_frame(text_frame),
    _each_in_its_frame(compressed_text_frame),
    is_binary=False,
)
PROTOBUF_FLAVOUR = _protobuf()


def flavour_of(upgrade: Upgrade) -> Flavour | None:
    """None for one that is not to be had here."""
    asked = [*upgrade.query.get("cf_protocol", ()), *upgrade.query.get("format", ())]
    if "protobuf" in asked or _PROTOBUF_SUBPROTOCOL in subprotocols(upgrade.headers):
        return None if upgrade.path == ONE_WAY_PATH else PROTOBUF_FLAVOUR
    return json_flavour(upgrade)


def json_flavour(upgrade: Upgrade) -> Flavour:
    """The one that is always to be had."""
    return ONE_WAY_FLAVOUR if upgrade.path == ONE_WAY_PATH else JSON_FLAVOUR


def flavour_of_body(content_type: str) -> Flavour | None:
    """That of a request, where there is no handshake; None as in `flavour_of`."""
    media_type = content_type.partition(";")[0].strip().lower()
    return PROTOBUF_FLAVOUR if media_type == BINARY_MEDIA_TYPE else JSON_FLAVOUR


def client_subprotocol(upgrade: Upgrade) -> str | None:
    """The one that was asked for is echoed, or a browser would hang up without a reason."""
    offered = subprotocols(upgrade.headers)
    known = (_PROTOBUF_SUBPROTOCOL, _JSON_SUBPROTOCOL)
    return next((name for name in known if name in offered), None)


def pings_of(upgrade: Upgrade) -> Pings:
    if upgrade.query.get("cf_ws_frame_ping_pong") == ["true"]:
        return Pings.FRAMES
    return Pings.BOTH if upgrade.path == ONE_WAY_PATH else Pings.ANSWERED


def words_in(upgrade: Upgrade) -> str:
    """What a one-way client says in its URL, instead of in its first message."""
    if upgrade.path != ONE_WAY_PATH:
        return ""
    return next(iter(upgrade.query.get("cf_connect", ())), "")

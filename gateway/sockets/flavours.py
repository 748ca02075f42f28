"""Which spelling of the Centrifuge protocol a handshake asks for, and its wires."""

from gateway.core.centrifuge.wire import ClientWire
from gateway.protocols.centrifuge.json import JSON
from gateway.protocols.compression import compressed_text_frame
from gateway.protocols.credentials import subprotocols
from gateway.protocols.frames import text_frame
from gateway.protocols.upgrade import Upgrade

CLIENT_PATH = "/connection/websocket"
_JSON_SUBPROTOCOL, _PROTOBUF_SUBPROTOCOL = "centrifuge-json", "centrifuge-protobuf"

JSON_WIRE = ClientWire(JSON, text_frame)
COMPRESSED_JSON_WIRE = ClientWire(JSON, compressed_text_frame)
MESSAGES_WIRE = ClientWire(JSON, bytes)  # for a server that makes the frames


def client_subprotocol(upgrade: Upgrade) -> str | None:
    """The one that was asked for is echoed, or a browser would hang up without a reason."""
    offered = subprotocols(upgrade.headers)
    known = (_PROTOBUF_SUBPROTOCOL, _JSON_SUBPROTOCOL)
    return next((name for name in known if name in offered), None)


def asks_for_protobuf(upgrade: Upgrade) -> bool:
    asked = [*upgrade.query.get("cf_protocol", ()), *upgrade.query.get("format", ())]
    return "protobuf" in asked or _PROTOBUF_SUBPROTOCOL in subprotocols(upgrade.headers)

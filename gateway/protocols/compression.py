"""Compression of messages, once for all receivers (permessage-deflate, RFC 7692).

A compressor that remembers earlier messages would have to be one per socket, 64 KB and some
20 µs each. With ``server_no_context_takeover`` every message stands alone, so that its frame is
made once and shared by all sockets that agreed, whatever each of them got before.
"""

import zlib

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import build_extension, parse_extension

from gateway.protocols.frames import BINARY, TEXT, frame

_NAME = "permessage-deflate"
_WINDOW_BITS = 12
_LEVEL = 6
_WORTH_BYTES = 64  # a shorter text grows
_COMPRESSED = 0x40  # RFC 7692 section 6: the first reserved bit marks a compressed message
_TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.1: the receiver adds it again

_FACTORY = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=_WINDOW_BITS,
)


def negotiate(offers: str) -> tuple[str, Extension] | None:
    """Return the response header's value and the decoder for what the client sends, or None.

    ``offers`` is the value of ``Sec-WebSocket-Extensions``. An offer that asks for a smaller
    window than ours is declined: its frames could not be shared.
    """
    try:
        parsed = parse_extension(offers)
    except InvalidHeader:
        return None
    for name, params in parsed:
        if name != _NAME:
            continue
        try:
            agreed, extension = _FACTORY.process_request_params(params, [])
        except NegotiationError:
            continue
        if ("server_max_window_bits", str(_WINDOW_BITS)) in agreed:
            return build_extension([(name, agreed)]), extension
    return None


def compressed_text_frame(payload: bytes) -> bytes:
    """A text frame, compressed where that makes it shorter."""
    return _compressed(TEXT, payload)


def compressed_binary_frame(payload: bytes) -> bytes:
    return _compressed(BINARY, payload)


def _compressed(opcode: int, payload: bytes) -> bytes:
    if len(payload) < _WORTH_BYTES:
        return frame(opcode, payload)
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW_BITS)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(opcode | _COMPRESSED, data.removesuffix(_TAIL))

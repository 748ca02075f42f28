"""Compression: what is agreed, and that one frame serves everybody who agreed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.headers import parse_extension
from websockets.protocol import CLIENT, Protocol

from gateway.protocols.compression import compressed_text_frame, negotiate


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=15",
        "x-unknown, permessage-deflate",
        "permessage-deflate; server_max_window_bits=9, permessage-deflate",
    ],
)
def test_an_offer_is_agreed_to_without_a_memory_of_earlier_messages(offer: str) -> None:
    agreed = negotiate(offer)
    assert agreed is not None
    ((name, params),) = parse_extension(agreed[0])
    assert name == "permessage-deflate"
    assert ("server_no_context_takeover", None) in params
    assert ("client_no_context_takeover", None) in params


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-unknown",
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; unknown=1",
        "permessage-deflate;;;",
        ",",
    ],
)
def test_what_cannot_be_shared_or_read_is_declined(offer: str) -> None:
    assert negotiate(offer) is None


@given(offer=st.text(max_size=80))
def test_no_offer_breaks_anything(offer: str) -> None:
    negotiate(offer)


def receive(frames: bytes) -> list[str]:
    """What a client that offered the usual reads, with a fresh memory."""
    factory = ClientPerMessageDeflateFactory()
    agreed = negotiate("permessage-deflate; client_max_window_bits")
    assert agreed is not None
    ((_, params),) = parse_extension(agreed[0])
    parser = Protocol(CLIENT)
    parser.extensions = [factory.process_response_params(params, [])]
    parser.receive_data(frames)
    assert parser.parser_exc is None
    return [bytes(e.data).decode() for e in parser.events_received() if isinstance(e, Frame)]


@given(texts=st.lists(st.text(max_size=3000), max_size=5))
def test_every_receiver_reads_the_same_frames_whatever_it_got_before(texts: list[str]) -> None:
    frames = [compressed_text_frame(text.encode()) for text in texts]
    assert receive(b"".join(frames)) == texts
    assert receive(b"".join(reversed(frames))) == texts[::-1]


def test_a_long_text_gets_shorter_and_a_short_one_is_left_alone() -> None:
    assert len(compressed_text_frame(b"Hola canal " * 100)) < 100
    assert compressed_text_frame(b"Hola") == b"\x81\x04Hola"

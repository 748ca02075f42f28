"""Which spelling a handshake gets."""

import sys

import pytest

from gateway.protocols.centrifuge import codec
from gateway.protocols.upgrade import Upgrade
from gateway.sockets import flavours
from gateway.sockets.flavours import CLIENT_PATH, JSON_FLAVOUR, PROTOBUF_FLAVOUR, flavour_of

_OFFER = "sec-websocket-protocol"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ({}, {_OFFER: "centrifuge-protobuf"}),
        ({"cf_protocol": ["protobuf"]}, {}),
        ({"format": ["protobuf"]}, {}),
    ],
)
def test_who_asks_for_protobuf_gets_it_or_learns_that_it_is_not_there(
    query: dict[str, list[str]], headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = Upgrade(CLIENT_PATH, query, headers)
    assert flavour_of(upgrade) is PROTOBUF_FLAVOUR is not None
    monkeypatch.setattr(flavours, "PROTOBUF_FLAVOUR", None)
    assert flavour_of(upgrade) is None


@pytest.mark.parametrize("headers", [{}, {_OFFER: "centrifuge-json"}, {_OFFER: "other"}])
def test_everybody_else_gets_json(headers: dict[str, str]) -> None:
    assert flavour_of(Upgrade(CLIENT_PATH, {}, headers)) is JSON_FLAVOUR


@pytest.mark.parametrize("missing", ["google", "google.protobuf"])
def test_without_the_library_there_is_no_such_flavour(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> object:
        raise ModuleNotFoundError(missing)

    monkeypatch.setattr(codec, "find_spec", find if missing == "google" else lambda name: None)
    assert flavours._protobuf() is None
    assert sys.modules["gateway.protocols.centrifuge.protobuf"]  # it is there, and stays

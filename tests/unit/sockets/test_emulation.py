"""In which spelling a request without a WebSocket is answered."""

import pytest
from starlette.requests import Request

from gateway.domain.errors import InvalidRequest
from gateway.sockets import emulation, flavours
from gateway.sockets.flavours import JSON_FLAVOUR, PROTOBUF_FLAVOUR


def request(content_type: str) -> Request:
    return Request({"type": "http", "headers": [(b"content-type", content_type.encode())]})


@pytest.mark.parametrize(
    "content_type", ["application/octet-stream", "Application/Octet-Stream; q"]
)
def test_bytes_are_protobuf(content_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert emulation._flavour(request(content_type)) is PROTOBUF_FLAVOUR is not None
    monkeypatch.setattr(flavours, "PROTOBUF_FLAVOUR", None)
    with pytest.raises(InvalidRequest, match="not spoken"):
        emulation._flavour(request(content_type))


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain;charset=UTF-8"])
def test_all_else_is_json(content_type: str) -> None:
    assert emulation._flavour(request(content_type)) is JSON_FLAVOUR

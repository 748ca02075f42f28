"""Every parser of the gateway: what reaches it from outside, and what it may say of it."""

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from gateway.adapters.redis.places.topology import parse_topology
from gateway.adapters.redis.shared.revocation_log import _revocation
from gateway.adapters.sql.address import parse as parse_database_url
from gateway.configuration import ConfigurationError
from gateway.core.tickets import _principal_of
from gateway.domain.channels import check_channel, is_pattern
from gateway.domain.errors import (
    GatewayError,
    InvalidChannel,
    InvalidRequest,
    InvalidToken,
    Unavailable,
)
from gateway.domain.messages import Position, parse_trace
from gateway.protocols.centrifuge import fossil
from gateway.protocols.centrifuge.commands import BadCommand
from gateway.protocols.centrifuge.json import JSON
from gateway.protocols.centrifuge.protobuf import PROTOBUF
from gateway.protocols.centrifuge.schema import Command, EmulationRequest
from gateway.protocols.compression import negotiate
from gateway.protocols.plain import Format, decode_frame
from gateway.protocols.upgrade import BadUpgrade
from gateway.web.problems import UnsupportedMedia
from tests.support.clients import client_frame
from tests.unit.core.tokens.forging import VALID, VERIFIER, as_jwk, as_jwks, ec_key, rsa_key
from tests.unit.parsing.calls import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    VALUE_BYTES_MAX,
    batch,
    client,
    coming_back,
    configuration,
    credentials,
    first,
    form,
    forwarded,
    frames,
    handshake,
    head_value,
    http,
    joining,
    kept,
    keys,
    payload,
    server_api,
    setting,
    signal,
    text,
)


class Parser(NamedTuple):
    """``bytes_max`` is the most that whatever stands before it lets through.

    ``samples`` are good ones, to be spoilt.
    """

    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    bytes_max: int
    samples: tuple[bytes, ...]


def _delimited(**fields: Any) -> bytes:
    data: bytes = Command(**fields).SerializeToString()
    return bytes([len(data)]) + data


def _dumped(*values: object) -> tuple[bytes, ...]:
    return tuple(orjson.dumps(value) for value in values)


_REQUEST = (
    b"GET /ws/room?since=e:1&token=%41 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
_CHUNKED = (
    b"POST /publish HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
)
_BODY = (
    b'{"id":"i","user":"root","time":1.5,"tags":{"a":"b"},"info":{"conn_info":1}}\n{"text":"Hola"}'
)
_REVOCATION = {
    **{"kind": "user", "subject": "a", "user": "a"},
    **{"before": 1, "expires_at": 2, "reason": "logout"},
}
_TICKET = {"subject": "a", "token_id": "t", "issued_at": 1, "expires_at": 2}

PARSERS: dict[str, Parser] = {
    "HTTP requests": Parser(http, (), 2 * HEAD_BYTES_MAX, (_REQUEST, _CHUNKED)),
    "WebSocket handshakes": Parser(handshake, (BadUpgrade,), HEAD_BYTES_MAX, (_REQUEST,)),
    "WebSocket frames": Parser(
        frames,
        (),
        2 * MESSAGE_BYTES_MAX,
        (
            client_frame(1, b"Hola") + client_frame(9, b"ping"),
            client_frame(1, b"Ho", fin=False) + client_frame(0, b"la"),
            client_frame(2, bytes(300)) + client_frame(8, b"\x03\xe8bye"),
        ),
    ),
    "first bytes of a connection": Parser(first, (BadUpgrade,), HEAD_BYTES_MAX, (_REQUEST,)),
    "offers of compression": Parser(
        lambda data: negotiate(head_value(data)),
        (),
        VALUE_BYTES_MAX,
        (b"permessage-deflate; client_max_window_bits; server_max_window_bits=12",),
    ),
    "places of a token": Parser(
        credentials,
        (),
        HEAD_BYTES_MAX,
        (b"Bearer a.b.c\nbearer, a.b.c\ngateway_token=a; gateway_csrf=b\nhttps://x\nx\nb",),
    ),
    "parameters of a socket": Parser(
        joining, (InvalidRequest,), VALUE_BYTES_MAX, (b"since=5f3c9a2e:42", b"history=10")
    ),
    "Last-Event-ID": Parser(coming_back, (), VALUE_BYTES_MAX, (b"5f3c9a2e:42",)),
    "positions": Parser(
        lambda data: Position.parse(text(data)),
        (InvalidRequest,),
        VALUE_BYTES_MAX,
        (b"5f3c9a2e:42", b":0"),
    ),
    "forwarded addresses": Parser(
        forwarded, (), VALUE_BYTES_MAX, (b"2001:db8::1, 192.0.2.1:80, [::1]:9", b"127.0.0.1")
    ),
    "traceparent": Parser(
        lambda data: parse_trace(head_value(data)),
        (),
        VALUE_BYTES_MAX,
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
    ),
    "channel names": Parser(
        lambda data: check_channel(text(data)),
        (InvalidChannel,),
        VALUE_BYTES_MAX,
        (b"chat:room:7", b"user:alice"),
    ),
    "patterns": Parser(
        lambda data: is_pattern(text(data)), (), VALUE_BYTES_MAX, (b"chat:*", b"a*b*c")
    ),
    "frames of plain sockets": Parser(
        lambda data: decode_frame(Format.JSON, text(data)),
        (InvalidRequest,),
        MESSAGE_BYTES_MAX,
        (b'{"data": {"text": "Hola"}}', b"Hola"),
    ),
    "Centrifuge commands": Parser(
        lambda data: JSON.decode(text(data)),
        (BadCommand,),
        MESSAGE_BYTES_MAX,
        (
            b'{"id":1,"connect":{"token":"a.b.c","subs":{"room":{"recover":true}}}}\n{}',
            b'{"id":2,"subscribe":{"channel":"room","offset":7,"epoch":"e","recover":true}}',
            b'{"id":3,"publish":{"channel":"room","data":[1.5,null,"x"]}}',
            b'{"id":4,"history":{"channel":"room","since":{"offset":1,"epoch":"e"},"limit":3}}',
        ),
    ),
    "Centrifuge commands in Protobuf": Parser(
        PROTOBUF.decode,
        (BadCommand,),
        MESSAGE_BYTES_MAX,
        (
            _delimited(id=1, connect={"token": "a.b.c", "subs": {"room": {"recover": True}}}),
            _delimited(id=2, subscribe={"channel": "room", "offset": 7, "epoch": "e"})
            + _delimited(id=3, publish={"channel": "room", "data": b'{"text":"Hola"}'}),
        ),
    ),
    "Centrifuge clients without a socket": Parser(
        JSON.said,
        (BadCommand,),
        2 * MESSAGE_BYTES_MAX,
        _dumped({"session": "s", "node": "n", "data": "{}"}),
    ),
    "Centrifuge clients without a socket, in Protobuf": Parser(
        PROTOBUF.said,
        (BadCommand,),
        2 * MESSAGE_BYTES_MAX,
        (EmulationRequest(session="s", node="n", data=b"{}").SerializeToString(),),
    ),
    "fossil deltas": Parser(
        lambda data: fossil.apply(data, b"a text that is here " * 20),
        (fossil.BadDelta,),
        MESSAGE_BYTES_MAX,
        (fossil.create(b"a text that is here " * 20, b"a text that was here " * 20),),
    ),
    "batches to publish": Parser(
        batch,
        (GatewayError,),
        BODY_BYTES_MAX,
        _dumped({"messages": [{"channel": "a", "data": 1}]}, {"channels": ["a", "b"], "data": "x"}),
    ),
    "forms": Parser(
        form, (GatewayError, UnsupportedMedia), 16_384, (b"username=alice&password=a%20b+c",)
    ),
    "the server API": Parser(
        server_api,
        (),
        BODY_BYTES_MAX,
        _dumped(
            {"channel": "a", "data": {}, "tags": {"a": "b"}, "idempotency_key": "k"},
            {"channel": "a", "b64data": base64.b64encode(b"[1]").decode()},
            {"channel": "a", "limit": 3, "since": {"offset": 1, "epoch": "e"}, "reverse": True},
            {"commands": [{"publish": {"channel": "a", "data": 1}}], "parallel": True},
            {"user": "a", "channel": "b", "expire_at": 4_000_000_000, "info": {}},
        ),
    ),
    "tokens": Parser(
        lambda data: VERIFIER.verify(text(data)), (InvalidToken,), 16_000, (VALID.encode(),)
    ),
    "tickets": Parser(_principal_of, (InvalidToken,), 16_000, _dumped(_TICKET)),
    "keys of other issuers": Parser(
        keys,
        (ValueError,),
        262_144,
        (as_jwks(as_jwk(rsa_key("theirs"), "a"), as_jwk(ec_key("ES256", "theirs"), "b")),),
    ),
    "messages from Redis": Parser(
        payload,
        (ValueError,),
        2 * MESSAGE_BYTES_MAX,
        (b"g1:7:5f3c9a2e:" + _BODY,),
    ),
    "history from Redis": Parser(
        kept,
        (Unavailable,),
        2 * MESSAGE_BYTES_MAX,
        (b"5f3c9a2e 7 3 m\n" + _BODY, b"5f3c9a2e 7 2 m\n" + _BODY),
    ),
    "signals of replicas": Parser(
        signal,
        (),
        BODY_BYTES_MAX,
        _dumped({"kind": "revoked", "revocation": {**_REVOCATION, "reason": "logout"}}),
    ),
    "clients that come and go": Parser(
        client,
        (ValueError,),
        BODY_BYTES_MAX,
        _dumped(["alice", "c1", '{"a":1}', ""]),
    ),
    "revocations from Redis": Parser(_revocation, (), 16_000, _dumped(_REVOCATION)),
    "settings": Parser(
        setting,
        (ConfigurationError,),
        16_000,
        tuple(
            number.to_bytes(2) + value
            for number, value in enumerate(
                (b"true", b"10", b'[{"name": "x"}]', b"a,b", b"127.0.0.1/8", b'{"a": {}}') * 12
            )
        ),
    ),
    "the TOML file": Parser(
        configuration,
        (ConfigurationError,),
        16_000,
        (
            b'unknown_namespaces = "refuse"\n[namespaces.chat]\npublish = "any"\narchive = true\n',
            b'[[api_keys]]\nname = "shop"\nkey_sha256 = "'
            + b"0f" * 32
            + b'"\nchannels = ["shop:*"]\n',
        ),
    ),
    "the URL of Redis": Parser(
        lambda data: parse_topology(text(data)),
        (ValueError,),
        16_000,
        (
            b"redis+sentinel://:p@h:26379,[::1]:2/mymaster/0?sentinel_password=x",
            b"rediss+cluster://u:p@h:1,i:2",
            b"redis://:p@h:1/2 redis://h:2",
        ),
    ),
    "the URL of the database": Parser(
        lambda data: parse_database_url(text(data)),
        (ValueError,),
        16_000,
        (b"postgresql://u:p@h:5432/n?sslmode=require", b"sqlite:///gateway.db"),
    ),
}

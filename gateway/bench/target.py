"""What is measured: where it listens, how one connects to it, and how one publishes there."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from gateway.bench import kept, stream
from gateway.bench.stream import RING, Envelopes, Publications, Stream
from gateway.core.tokens import SigningKey, TokenIssuer

_TOKEN_SECONDS = 3600
_CHUNK_BYTES_OF_MANY = 1 << 12


class Kind(StrEnum):
    GATEWAY = "gateway"
    SEED = "seed"  # the first seed's design
    LOOP = "loop"  # the bare loop of send()


class Publishing(StrEnum):
    """How the generator publishes to a gateway."""

    SOCKET = "socket"  # as a client does
    STORED = "stored"  # past the gateway, with its script: Redis stores each message
    BARE = "bare"  # past the gateway, with PUBLISH alone: nothing is stored


@dataclass(frozen=True, slots=True)
class RedisAddress:
    port: int
    password: str
    prefix: str = "gw"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the channel, or the row of channels, that is used on it."""

    kind: Kind
    host: str
    port: int
    channel: str
    is_row: bool = False
    """Whether every socket has a channel of its own, named by the socket's number."""
    control_port: int = 0
    secret: str = ""
    token: str = ""
    """One token for all sockets, where the secret is not known."""
    redis: RedisAddress | None = None
    publishing: Publishing = Publishing.SOCKET

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Target":
        fields = json.loads(text)
        redis = fields.pop("redis")
        fields["kind"] = Kind(fields["kind"])
        fields["publishing"] = Publishing(fields["publishing"])
        return cls(**fields, redis=RedisAddress(**redis) if redis else None)

    def channel_of(self, number: int) -> str:
        return f"{self.channel}-{number:06d}" if self.is_row else self.channel

    def streams(self, numbers: range) -> list[Stream]:
        """What each of these sockets must receive."""
        if not self.is_row:
            return [Stream(stream.delivered(self.channel))] * len(numbers)
        # A ring for each channel: small ones, or they would fill the memory.
        return [
            Stream(stream.delivered(self.channel_of(n), stream.ROW_RING), _CHUNK_BYTES_OF_MANY)
            for n in numbers
        ]

    def publications(self) -> Publications:
        """What makes the server deliver the messages of its channel, one after the other."""
        if self.kind is Kind.LOOP:
            return Stream(stream.triggers())
        if self.kind is Kind.SEED:
            return Stream(stream.plain_commands(self.channel))
        if self.publishing is not Publishing.SOCKET:
            assert self.redis is not None
            if self.publishing is Publishing.STORED:
                return Stream(kept.store_commands(self.redis.prefix, self.channel))
            return Envelopes(self.redis.prefix, self.channel, RING)
        return Stream(stream.client_frames())

    def handshakes(
        self, numbers: range, *, has_publisher: bool = False, query: str = "format=text"
    ) -> list[bytes]:
        """The requests that open these sockets, each with a valid token of its own.

        The first may publish where ``has_publisher`` says so; the others can only listen. The
        ``query`` is for a gateway; the references know nothing to be asked for.
        """
        if self.kind is Kind.LOOP:
            return [b""] * len(numbers)
        issue = self._issuer().issue if self.secret else None
        requests = []
        for number in numbers:
            roles = ["publisher"] if has_publisher and number == numbers[0] else []
            token = (
                issue(f"listener-{number}", lifetime_seconds=_TOKEN_SECONDS, roles=roles)
                if issue
                else self.token
            )
            requests.append(self._handshake(self.channel_of(number), token, query))
        return requests

    def publisher_token(self) -> str:
        """A token for publishing over REST."""
        if not self.secret:
            return self.token
        return self._issuer().issue("bench", lifetime_seconds=_TOKEN_SECONDS, roles=["publisher"])

    def _handshake(self, channel: str, token: str, query: str) -> bytes:
        asked = f"&{query}" if self.kind is Kind.GATEWAY else ""
        return (
            f"GET /ws/{channel}?token={token}{asked} HTTP/1.1\r\n"
            f"Host: {self.host}:{self.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def _issuer(self) -> TokenIssuer:
        return TokenIssuer(
            SigningKey("1", self.secret.encode()),
            issuer="gateway",
            audience="gateway",
            lifetime_seconds_max=_TOKEN_SECONDS,
        )

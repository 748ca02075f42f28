"""A client of the Centrifuge protocol that says exactly what a test wants, and signed tokens."""

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.core.tokens import SigningKey
from gateway.core.tokens.form import encode_segment, join
from tests.support.clients import make_token
from tests.support.servers import SECRET

PATH = "/connection/websocket"
_KEY = SigningKey("1", SECRET.encode())


def jwt(sub: str = "alice", *, ttl: int = 600, kid: str | None = None, **claims: object) -> str:
    """A token as the libraries of applications sign it: typ JWT, and no more than is needed.

    A claim that is None is left out.
    """
    now = int(time.time())
    header = {"alg": "HS256", "typ": "JWT", **({} if kid is None else {"kid": kid})}
    body = {"iss": "gateway", "aud": "gateway", "sub": sub, "iat": now, "exp": now + ttl, **claims}
    signed = join(header, {name: value for name, value in body.items() if value is not None})
    return f"{signed}.{encode_segment(_KEY.sign(signed.encode()))}"


def subscription_token(channel: str, sub: str = "alice", **claims: Any) -> str:
    return jwt(sub, channel=channel, **claims)


class Peer:
    """Replies are matched by id; everything else waits in ``pushes``, in its order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.pushes: deque[Any] = deque()
        self.replies: dict[int, Any] = {}
        self.seen: list[Any] = []
        self._lines: deque[str] = deque()
        self._id = 0
        self.client = ""

    @classmethod
    async def open(cls, ws: str, query: str = "", **options: Any) -> Self:
        return cls(await connect(ws + PATH + query, compression=None, **options))

    @classmethod
    async def enter(
        cls, ws: str, token: str | None = None, query: str = "", **params: object
    ) -> Self:
        """Open, and say who it is; the result of that is in ``connected``."""
        peer = await cls.open(ws, query)
        peer.connected = await peer.ask("connect", token=token or make_token(), **params)
        peer.client = peer.connected["client"]
        return peer

    connected: Any = None

    async def ask(self, method: str, /, **params: object) -> Any:
        """The result of a command; an error fails the test."""
        reply = await self.try_(method, **params)
        assert method in reply, reply
        return reply[method]

    async def refused(self, method: str, /, **params: object) -> tuple[int, str]:
        """The error of a command."""
        reply = await self.try_(method, **params)
        assert "error" in reply, reply
        return reply["error"]["code"], reply["error"]["message"]

    async def try_(self, method: str, /, **params: object) -> Any:
        id = await self.say(method, **params)
        return await self.reply(id)

    async def say(self, method: str, /, **params: object) -> int:
        self._id += 1
        await self.send({"id": self._id, method: params})
        return self._id

    async def send(self, *objects: object) -> None:
        await self.socket.send("\n".join(json.dumps(each) for each in objects))

    async def reply(self, id: int, seconds: float = 5.0) -> Any:
        async with asyncio.timeout(seconds):
            while id not in self.replies:
                await self._read()
        return self.replies.pop(id)

    async def push(self, channel: str, seconds: float = 5.0) -> Any:
        """The next push, which has to be of this channel."""
        async with asyncio.timeout(seconds):
            while not self.pushes:
                await self._read()
        push = self.pushes.popleft()
        assert push["channel"] == channel, push
        return push

    async def pub(self, channel: str, seconds: float = 5.0) -> Any:
        push = await self.push(channel, seconds)
        assert "pub" in push, push
        return push["pub"]

    async def closed(self, seconds: float = 5.0) -> tuple[int, str]:
        """Wait for the end; return its code and reason."""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
            await self.socket.wait_closed()
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""

    async def _read(self) -> None:
        if not self._lines:
            frame = await self.socket.recv()
            assert isinstance(frame, str)
            self._lines.extend(frame.split("\n"))
        value = json.loads(self._lines.popleft())
        self.seen.append(value)
        if value == {}:
            await self.socket.send("{}")
        elif "push" in value:
            self.pushes.append(value["push"])
        else:
            self.replies[value["id"]] = value

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

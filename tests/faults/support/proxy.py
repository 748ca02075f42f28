"""A TCP proxy that can be made bad while it runs: late, slow, deaf, torn or shut."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum

_CHUNK = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Flow(Enum):
    PASS = "pass"
    HOLD = "hold"  # as behind a firewall that drops: nothing moves, and what waits comes later
    SWALLOW = "swallow"  # read and thrown away; the connection is useless ever after


@dataclass
class Toxics:
    """What is done to the bytes of one direction."""

    flow: Flow = Flow.PASS
    latency_seconds: float = 0.0
    bytes_per_second: float = 0.0  # 0: as fast as it goes
    bytes_left: int | None = None  # after so many, the connection is reset


class Connection:
    """One client and its connection to the target."""

    def __init__(self, client: "_Streams", target: "_Streams | None") -> None:
        self.client = client
        self.target = target

    def reset(self) -> None:
        for streams in (self.client, self.target):
            if streams is not None:
                _reset(streams[1])

    def forget_client(self) -> None:
        """Half-open: the target sees an end, and the client sees nothing at all."""
        if self.target is not None:
            self.target[1].transport.abort()


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class TcpProxy:
    """Passes connections on to a port; change ``up`` and ``down`` at any time.

    ``up`` is what clients send, ``down`` what they get.
    """

    def __init__(self, target_port: int, target_host: str = "127.0.0.1") -> None:
        self.port = 0
        self.up, self.down = Toxics(), Toxics()
        self.connections: set[Connection] = set()
        self.accepted = 0
        self._target_host, self._target_port = target_host, target_port
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    def black_hole(self, flow: Flow = Flow.HOLD, *, up: bool = True, down: bool = True) -> None:
        """Nothing comes through any more in these directions, and nobody is told."""
        for toxics, is_chosen in ((self.up, up), (self.down, down)):
            if is_chosen:
                toxics.flow = flow

    def half_open(self) -> None:
        """The target loses every connection; their clients do not notice."""
        self.black_hole(Flow.SWALLOW)
        for connection in self.connections:
            connection.forget_client()

    def heal(self) -> None:
        """Like new. A connection of which something was swallowed is reset."""
        is_torn = Flow.SWALLOW in (self.up.flow, self.down.flow)
        self.up, self.down = Toxics(), Toxics()
        if is_torn:
            self.reset_all()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def reset_all(self) -> None:
        """RST on every connection, at both ends."""
        for connection in tuple(self.connections):
            connection.reset()

    async def refuse(self) -> None:
        """Nobody listens on the port any more; what is open stays open."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        await self.refuse()
        self.heal()
        self.reset_all()
        for _ in range(500):
            if not self.connections:
                return
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection((reader, writer), None)
        self.connections.add(connection)
        self.accepted += 1
        try:
            # A dropped SYN gets no answer; one that was accepted before is as silent.
            await self._passable(is_up=True)
            target = await asyncio.open_connection(self._target_host, self._target_port)
            connection.target = target
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, target[1], connection, is_up=True))
                group.create_task(self._pump(target[0], writer, connection, is_up=False))
        except* OSError:
            connection.reset()
        finally:
            self.connections.discard(connection)
            for streams in (connection.client, connection.target):
                if streams is not None:
                    streams[1].transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: Connection,
        *,
        is_up: bool,
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._passable(is_up)
            toxics = self.up if is_up else self.down
            if toxics.flow is Flow.SWALLOW:
                continue
            if toxics.latency_seconds:
                await asyncio.sleep(toxics.latency_seconds)
            if toxics.bytes_left is not None:
                data, toxics.bytes_left = data[: toxics.bytes_left], toxics.bytes_left - len(data)
            for part in _parts(data, toxics.bytes_per_second):
                writer.write(part)
                await writer.drain()
                if toxics.bytes_per_second:
                    await asyncio.sleep(len(part) / toxics.bytes_per_second)
            if toxics.bytes_left is not None and toxics.bytes_left <= 0:
                connection.reset()
                return
        await self._passable(is_up)
        toxics = self.up if is_up else self.down
        if toxics.flow is Flow.SWALLOW:
            # The end is swallowed, too.
            await self._changed.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _passable(self, is_up: bool) -> None:
        while (self.up if is_up else self.down).flow is Flow.HOLD:
            await self._changed.wait()


def _parts(data: bytes, bytes_per_second: float) -> list[bytes]:
    """In pieces of a twentieth of a second, so that a slow line is slow and not jerky."""
    size = max(int(bytes_per_second / 20), 1) if bytes_per_second else len(data) or 1
    return [data[start : start + size] for start in range(0, len(data), size)]


def _reset(writer: asyncio.StreamWriter) -> None:
    kernel_socket = writer.get_extra_info("socket")
    if kernel_socket is not None and not writer.transport.is_closing():
        kernel_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy_to(port: int, host: str = "127.0.0.1") -> AsyncIterator[TcpProxy]:
    proxy = TcpProxy(port, host)
    await proxy.accept()
    try:
        yield proxy
    finally:
        await proxy.close()

"""The loop accepts connections by itself, and leaves to asyncio what it does not know."""

import asyncio
import errno
import logging
import socket

import pytest

from gateway.loop import AcceptingLoop, accepts_directly, new_loop


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        peer = self.transport.get_extra_info("peername")
        self.transport.write(b"%d:%b" % (peer[1], data))


class Exhausted(socket.socket):
    """A listener whose process has no file descriptor left, so many times."""

    failures = 0
    error = errno.EMFILE

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(self.error, "no more")
        return super().accept()


async def asked(port: int, word: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    own_port = writer.get_extra_info("sockname")[1]
    writer.write(word)
    answer = await reader.read(100)
    writer.close()
    return own_port, answer


def test_this_python_lets_us_accept_directly() -> None:
    assert accepts_directly()
    loop = new_loop()
    assert isinstance(loop, AcceptingLoop)
    loop.close()


def test_many_who_come_at_once_are_all_served_and_keep_their_addresses() -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=500)
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(asked(port, b"%d" % i) for i in range(200)))
        assert [answer for _, answer in answers] == [
            b"%d:%d" % (own_port, i) for i, (own_port, _) in enumerate(answers)
        ]
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve())


def test_a_connection_waits_while_there_are_no_descriptors(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.05)

    async def serve() -> None:
        listener = Exhausted()
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        listener.failures = 4
        server = await asyncio.get_running_loop().create_server(Echo, sock=listener)
        async with asyncio.timeout(10):
            _, answer = await asked(listener.getsockname()[1], b"late")
        assert answer.endswith(b":late")
        assert not listener.failures
        server.close()

    with caplog.at_level(logging.ERROR), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve())
    assert "out of system resource" in caplog.text

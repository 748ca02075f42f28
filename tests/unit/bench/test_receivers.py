"""Opening sockets: who is refused, and what the server says about it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.bench.checker import Misdelivered
from gateway.bench.receivers import Receivers
from gateway.bench.stream import Stream, delivered
from gateway.protocols.frames import close_frame

STREAM = Stream(delivered("bench", 20))
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[str, int]]:
    """Accepts one connection per answer, in order, and says it after the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                connections.append(connection)
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()
        for connection in connections:
            connection.close()


def opened(address: tuple[str, int], sockets: int, in_flight: int = 1) -> Receivers:
    receivers = Receivers([STREAM] * sockets)
    try:
        receivers.open(address, [b"handshake"] * sockets, in_flight)
    except BaseException:
        receivers.close()
        raise
    return receivers


def test_what_arrives_after_the_handshake_is_checked() -> None:
    with server(*[ACCEPTED] * 3) as address:
        receivers = opened(address, 3)

    with pytest.raises(Misdelivered, match="was closed by the server after 0 messages"):
        receivers.receive(1)
    receivers.close()


def test_a_refused_handshake_is_told_with_its_status_line() -> None:
    with (
        server(b"HTTP/1.1 401 Unauthorized\r\n\r\n") as address,
        pytest.raises(ConnectionError, match=r"answered with: HTTP/1\.1 401"),
    ):
        opened(address, 1)


def test_a_refusal_after_the_handshake_is_told_with_its_reason() -> None:
    with (
        server(ACCEPTED + close_frame(1008, "the token is not valid")) as address,
        pytest.raises(Misdelivered, match="1008 'the token is not valid'"),
    ):
        opened(address, 1)

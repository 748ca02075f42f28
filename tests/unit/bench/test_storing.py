"""Every message that is stored must get the next position."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.bench.checker import Misdelivered
from gateway.bench.kept import KEPT
from gateway.bench.storing import StoringConnection, fill
from gateway.bench.target import RedisAddress


@contextmanager
def redis(*answers: bytes) -> Iterator[RedisAddress]:
    """Answers AUTH and SCRIPT LOAD, and then whatever comes with these."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in (b"+OK\r\n", b"$3\r\nsha\r\n", b"".join(answers)):
                    connection.recv(1 << 20)
                    connection.sendall(answer)
                while connection.recv(1 << 20):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield RedisAddress(listener.getsockname()[1], "password")
        thread.join()


def stored(offset: int, epoch: bytes = b"bench") -> bytes:
    words = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in (epoch, b"%d" % offset))
    return b"*3\r\n:0\r\n" + words


def test_a_channel_is_filled_from_its_first_position_on() -> None:
    with redis(*map(stored, range(1, KEPT + 1))) as address:
        fill(address, "kept")


@pytest.mark.parametrize(
    "answer",
    [stored(3), stored(1), stored(2, b"other"), b"*1\r\n:2\r\n"],
    ids=["skipped", "repeated", "other epoch", "not stored"],
)
def test_another_position_fails_the_run(answer: bytes) -> None:
    with (
        redis(stored(1), answer) as address,
        pytest.raises(Misdelivered, match="message 2 was stored as"),
    ):
        fill(address, "kept")


def test_a_script_that_redis_does_not_run_fails_the_run() -> None:
    with redis(b"-NOSCRIPT No matching script\r\n") as address:
        connection = StoringConnection(address)
        with pytest.raises(ConnectionError, match="Redis answered: NOSCRIPT"):
            connection.ask(b"*1\r\n$4\r\nPING\r\n")
        connection.close()

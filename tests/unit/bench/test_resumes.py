"""A socket that comes back must get what is due to it, all of it, and nothing else."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.bench.checker import Misdelivered
from gateway.bench.fanout import Span
from gateway.bench.kept import missed
from gateway.bench.resumes import at_once, in_turn
from gateway.protocols.frames import PING_FRAME, close_frame

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
DUE = missed("kept", 50)
GOODBYE = close_frame(1000, "")
Address = tuple[str, int]


@contextmanager
def server(answer: bytes, goodbye: bytes = GOODBYE, *, cut: int = 0) -> Iterator[Address]:
    """Gives everybody the answer, in two parts where ``cut`` says so, and then the goodbye."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def serve(connection: socket.socket) -> None:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    connection.recv(100)
                    connection.sendall(answer[:cut])
                    connection.sendall(answer[cut:])
                    if goodbye and connection.recv(100):
                        connection.sendall(goodbye)
                except ConnectionError:
                    pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=serve, args=[connection]))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread in threads:
            thread.join()


def come_and_go(address: Address, sockets: int = 1) -> Span:
    return in_turn(address, [b"handshake"] * sockets, DUE, in_flight=sockets, seconds=0)


@pytest.mark.parametrize("cut", [0, 10, len(ACCEPTED), len(ACCEPTED) + 1, len(DUE)])
def test_what_is_due_is_right_however_it_is_cut(cut: int) -> None:
    with server(ACCEPTED + DUE, cut=cut) as address:
        assert come_and_go(address, 3).deliveries == 3


def test_others_come_for_those_who_have_left_until_the_time_is_over() -> None:
    with server(ACCEPTED + DUE) as address:
        span = in_turn(address, [b"handshake"], DUE, in_flight=2, seconds=0.05)

    assert span.deliveries > 2
    assert span.ended - span.started >= 0.05


def test_all_at_once_are_counted_when_the_last_has_everything() -> None:
    with server(ACCEPTED + DUE) as address:
        assert at_once(address, [b"handshake"] * 5, DUE).deliveries == 5


def test_nothing_is_due_to_a_new_socket() -> None:
    with server(ACCEPTED) as address:
        assert in_turn(address, [b"handshake"], b"", in_flight=1, seconds=0).deliveries == 1


@pytest.mark.parametrize(
    "answer",
    [
        missed("kept", 49),
        missed("kept", 51),
        DUE[: len(DUE) // 2] + DUE,
        DUE.replace(b'"offset":60,', b'"offset":61,'),
        DUE + PING_FRAME,
        close_frame(1013, "busy"),
    ],
    ids=["one lost", "one too many", "doubled", "wrong offset", "more", "refused"],
)
def test_anything_else_fails_the_run(answer: bytes) -> None:
    for come in (come_and_go, lambda address: at_once(address, [b"handshake"], DUE)):
        with (
            server(ACCEPTED + answer) as address,
            pytest.raises(Misdelivered, match="got something else from byte"),
        ):
            come(address)


def test_what_comes_to_somebody_who_stays_fails_the_run() -> None:
    with (
        server(ACCEPTED + DUE + PING_FRAME, cut=len(ACCEPTED + DUE)) as address,
        pytest.raises(Misdelivered, match="got something else from byte"),
    ):
        at_once(address, [b"handshake"] * 3, DUE)


def test_the_difference_is_shown() -> None:
    wrong = DUE.replace(b'"offset":60,', b'"offset":61,')

    with (
        server(ACCEPTED + wrong) as address,
        pytest.raises(Misdelivered, match=r'expected .*"offset":60.*, got .*"offset":61'),
    ):
        come_and_go(address)


def test_a_part_and_a_closed_connection_fail_the_run() -> None:
    with (
        server(ACCEPTED + DUE[:-1], goodbye=b"") as address,
        pytest.raises(Misdelivered, match=rf"after {len(DUE) - 1} of {len(DUE)} bytes"),
    ):
        come_and_go(address)


@pytest.mark.parametrize("goodbye", [DUE[:300] + GOODBYE, close_frame(1011, ""), GOODBYE * 2])
def test_what_comes_before_the_goodbye_fails_the_run(goodbye: bytes) -> None:
    with (
        server(ACCEPTED + DUE, goodbye) as address,
        pytest.raises(Misdelivered, match="had got everything was sent more"),
    ):
        come_and_go(address)


def test_a_refused_handshake_is_told_with_its_status_line() -> None:
    with (
        server(b"HTTP/1.1 401 Unauthorized\r\n\r\n") as address,
        pytest.raises(ConnectionError, match=r"answered with: HTTP/1\.1 401"),
    ):
        come_and_go(address)

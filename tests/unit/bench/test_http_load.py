"""Answers come in pieces, and every one of them is looked at."""

import socket
from collections.abc import Iterator

import pytest

from gateway.bench.checker import Misdelivered
from gateway.bench.http_load import Caller, question_of, request_of

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Other: 1\r\n\r\nhello"


class Served:
    """A caller and the other end of its connection."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.caller = Caller(listener.getsockname(), b"request")
            self.server, _ = listener.accept()

    def answer(self, data: bytes) -> bytes | None:
        self.server.sendall(data)
        return self.caller.read()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.caller.socket.close()
    served.server.close()


def test_an_answer_is_complete_when_its_length_is_there(served: Served) -> None:
    for cut in range(1, len(ANSWER)):
        assert served.answer(ANSWER[:cut]) is None
        assert served.answer(ANSWER[cut:]) == b"hello"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "answered with .*503"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "how long"),
    ],
)
def test_other_answers_fail_the_run(served: Served, answer: bytes, problem: str) -> None:
    with pytest.raises(Misdelivered, match=problem):
        served.answer(answer)


def test_a_closed_connection_fails_the_run(served: Served) -> None:
    served.server.close()

    with pytest.raises(Misdelivered, match="closed a connection"):
        served.caller.read()


def test_a_request_says_how_long_it_is() -> None:
    request = request_of("/publish/a", b"{}", port=80, token="")

    assert request.startswith(b"POST /publish/a HTTP/1.1\r\nHost: 127.0.0.1:80\r\n")
    assert request.endswith(b"Content-Length: 2\r\n\r\n{}")


def test_a_question_has_no_body() -> None:
    question = question_of("/channels/a/history", port=80, token="a.b.c")

    assert question == (
        b"GET /channels/a/history HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"
        b"Authorization: Bearer a.b.c\r\n\r\n"
    )

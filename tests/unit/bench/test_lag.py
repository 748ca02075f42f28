"""How late a loop is, as it is measured: by questions that do not wait for each other."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bench.scaling.lag import Probe

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOGETHER = 4
SECONDS_MAX = 20
HELD_UP_SECONDS = 0.6


class Reluctant:
    """Answers nobody before so many have asked, and then all of them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.address = self._listener.getsockname()
        self._asked: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the probe ends while some still wait
            while connection.recv(4096):
                with self._lock:
                    self._asked.append(connection)
                    if len(self._asked) >= TOGETHER:
                        for each in self._asked:
                            each.sendall(ANSWER)
                        self._asked.clear()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Reluctant]:
    with contextlib.closing(Reluctant()) as started:
        yield started


def test_a_question_does_not_wait_for_the_answer_to_another(server: Reluctant) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    with contextlib.closing(Probe(*server.address)) as probe:
        while len(probe.late) < 3 * TOGETHER:
            assert time.monotonic() < deadline
            probe.turn()
    assert all(0 <= late < SECONDS_MAX for late in probe.late)


def test_an_answer_is_late_by_the_time_since_it_was_due(server: Reluctant) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    with contextlib.closing(Probe(*server.address)) as probe:
        time.sleep(HELD_UP_SECONDS)  # many questions are due, and nobody has come to ask them
        while max(probe.late, default=0.0) < HELD_UP_SECONDS:
            assert time.monotonic() < deadline
            probe.turn()
            assert len(probe.late) < 200  # the first of them would be among these

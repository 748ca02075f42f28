"""One HTTP request over and over on keep-alive connections, each answer checked."""

import select
import socket
import time

from gateway.bench.checker import Misdelivered

_BUFFER_BYTES = 1 << 16
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_STALL_SECONDS_MAX = 10.0


class Caller:
    """A connection that sends its request again whenever the answer is complete."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self._request = request
        self.socket = socket.create_connection(address, 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = bytearray()

    def call(self) -> None:
        self.socket.sendall(self._request)

    def read(self) -> bytes | None:
        """Read what is there; return the body when the answer is complete."""
        chunk = self.socket.recv(_BUFFER_BYTES)
        if not chunk:
            raise Misdelivered("the server closed a connection instead of answering")
        answer = self._answer
        answer += chunk
        head_end = answer.find(_HEAD_END)
        if head_end < 0:
            return None
        body_start = head_end + len(_HEAD_END)
        head = bytes(answer[:body_start])
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Misdelivered(f"a request was answered with {bytes(answer[:300])!r}")
        _, found, length = head.lower().partition(_LENGTH)
        if not found:
            raise Misdelivered("an answer does not say how long it is")
        end = body_start + int(length.partition(b"\r\n")[0])
        if len(answer) < end:
            return None
        body = bytes(answer[body_start:end])
        del answer[:end]
        return body


def request_of(path: str, body: bytes, *, port: int, token: str) -> bytes:
    head = (
        f"POST {path} {_fields(port, token)}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def question_of(path: str, *, port: int, token: str) -> bytes:
    return f"GET {path} {_fields(port, token)}\r\n".encode()


def _fields(port: int, token: str) -> str:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{authorization}"


def run_requests(
    address: tuple[str, int],
    request: bytes,
    *,
    connections: int,
    seconds: float,
    mark: bytes,
    marks: int,
) -> int:
    """Send for so long, wait for the answers, and return how many there were.

    Every answer must be a 200 in which ``mark`` stands ``marks`` times.
    """
    epoll = select.epoll()
    callers = {}
    for _ in range(connections):
        caller = Caller(address, request)
        callers[caller.socket.fileno()] = caller
        epoll.register(caller.socket, select.EPOLLIN)
    started = now = moved = time.monotonic()
    for caller in callers.values():
        caller.call()
    waiting, answered = connections, 0
    while waiting:
        for descriptor, _ in epoll.poll(1.0):
            caller = callers[descriptor]
            body = caller.read()
            if body is None:
                continue
            if body.count(mark) != marks:
                raise Misdelivered(f"an answer is not what was asked for: {body[:300]!r}")
            answered += 1
            moved = now
            if now < started + seconds:
                caller.call()
            else:
                waiting -= 1
        now = time.monotonic()
        if now > moved + _STALL_SECONDS_MAX:
            raise Misdelivered(f"{waiting} requests were not answered")
    epoll.close()
    for caller in callers.values():
        caller.socket.close()
    return answered

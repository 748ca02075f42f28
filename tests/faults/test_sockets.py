"""The sockets of the fault tests lose nothing themselves."""

import asyncio
import socket
import threading
import time

from tests.faults.support.sockets import open_socket

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + b"\x81\x05hello"
SECONDS = 1.5


async def test_an_answer_that_comes_with_the_time_out_is_no_refusal() -> None:
    loop, taken = asyncio.get_running_loop(), list[bytes]()
    is_held_up = threading.Event()

    def hold_up() -> None:
        is_held_up.set()
        time.sleep(max(began + SECONDS + 0.2 - time.monotonic(), 0))

    def answer_one() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            loop.call_soon_threadsafe(hold_up)
            is_held_up.wait()
            connection.sendall(ANSWER)
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        server = threading.Thread(target=answer_one)
        server.start()
        began = time.monotonic()
        # Answer and end of the time are there when the loop looks again.
        opened, _ = await open_socket(
            port, "/ws/room", "token", taken.append, now=time.monotonic, timeout_seconds=SECONDS
        )
        opened.abort()
        await asyncio.to_thread(server.join)
    assert taken == [b"hello"]

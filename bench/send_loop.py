"""`send_loop.c` for a machine without a C compiler: the same bare loop, over ``os.write``.

usage: send_loop.py RING FRAME_BYTES
"""

import os
import select
import socket
import sys
from pathlib import Path


def main() -> None:
    ring, frame_bytes = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
    receiver_listener, control_listener = _listen(), _listen()
    print(receiver_listener.getsockname()[1], control_listener.getsockname()[1], flush=True)

    receivers: list[socket.socket] = []
    descriptors: list[int] = []
    control: socket.socket | None = None
    position = 0
    while True:
        waiting = [receiver_listener, control_listener, *([control] if control else [])]
        ready = select.select(waiting, [], [])[0]
        # Always first: a receiver that connected before the trigger must get the frame.
        for receiver in _accept(receiver_listener):
            receivers.append(receiver)
            descriptors.append(receiver.fileno())
        if control_listener in ready:
            control = _accept(control_listener)[0]
        if control is None or control not in ready:
            continue
        triggers = control.recv(4096)
        if not triggers:
            return  # the generator has finished
        for _ in triggers:
            frame = ring[position : position + frame_bytes]
            position = (position + frame_bytes) % len(ring)
            for descriptor in descriptors:
                if os.write(descriptor, frame) != frame_bytes:
                    sys.exit("a receiver took less than a frame")


def _listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    return listener


def _accept(listener: socket.socket) -> list[socket.socket]:
    accepted: list[socket.socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return accepted
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.append(connection)


if __name__ == "__main__":
    main()

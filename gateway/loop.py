"""The event loop that the gateway serves with: asyncio's own, but for how it accepts."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

# Per turn of the loop, however long the queue of the kernel is: in a storm of connects those who
# are connected are served in between.
_ACCEPTED_PER_TURN_MAX = 64


class AcceptingLoop(asyncio.SelectorEventLoop):
    """Makes a connection's transport at once, where asyncio starts a task that waits for one.

    The task, its future and their wake-ups are a tenth of what a connect costs. What asyncio
    keeps private here has been the same since Python 3.4; if it changes, `accepts_directly` says
    so, and asyncio's own way is used.
    """

    def _accept_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: ssl.SSLContext | None = None,
        server: Any = None,
        backlog: int = 100,
        *time_outs: float,
    ) -> None:
        accept_as_usual = super()._accept_connection  # type: ignore[misc]
        if sslcontext is not None:
            accept_as_usual(protocol_factory, sock, sslcontext, server, backlog, *time_outs)
            return
        for _ in range(min(backlog, _ACCEPTED_PER_TURN_MAX)):
            try:
                connection, address = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # It will run into the same, and knows when to try again.
                accept_as_usual(protocol_factory, sock, None, server, 1, *time_outs)
                return
            connection.setblocking(False)
            self._make_socket_transport(  # type: ignore[attr-defined]
                connection, protocol_factory(), extra={"peername": address}, server=server
            )


def accepts_directly() -> bool:
    """Whether this Python's event loop has what `AcceptingLoop` relies on."""
    base = asyncio.SelectorEventLoop
    return hasattr(base, "_accept_connection") and hasattr(base, "_make_socket_transport")


def new_loop() -> asyncio.AbstractEventLoop:
    return AcceptingLoop() if accepts_directly() else asyncio.SelectorEventLoop()

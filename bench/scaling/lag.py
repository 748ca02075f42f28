"""How late a replica's event loop is: asked whether it lives, at a fixed rate."""

import selectors
import time
from collections import deque
from http.client import HTTPConnection

_EVERY_SECONDS = 0.02
# Each is asked every two seconds, before the server takes it for idle and closes it.
_CONNECTIONS = 100
_SILENT_SECONDS_MAX = 20.0


class Probe:
    """``late`` grows by how long after it was due each question was answered.

    An answer waits for whatever the event loop does. No question waits for the answer to another
    one: on a single connection a loop that needs 50 ms for each would seem to be later and later,
    by 30 ms with every question. And every connection is there before it starts, for a new one
    would wait among all the others that want to come in.
    """

    def __init__(self, host: str, port: int) -> None:
        self.late: list[float] = []
        self._selector = selectors.DefaultSelector()
        self._idle: deque[HTTPConnection] = deque()
        self._asked: dict[HTTPConnection, float] = {}
        for _ in range(_CONNECTIONS):
            connection = HTTPConnection(host, port, timeout=_SILENT_SECONDS_MAX)
            connection.connect()
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)
            self._idle.append(connection)
        self._due = time.monotonic()

    def turn(self) -> float:
        """Ask what is due and take what is answered, until the next is due; return 0."""
        now = time.monotonic()
        while self._idle and self._due <= now:
            connection = self._idle.popleft()
            connection.request("GET", "/livez")
            self._asked[connection] = self._due
            self._due += _EVERY_SECONDS
        if self._asked and now - next(iter(self._asked.values())) > _SILENT_SECONDS_MAX:
            raise TimeoutError("a replica does not say whether it lives")
        wait = max(self._due - now, 0.0) if self._idle else 1.0
        for key, _ in self._selector.select(wait):
            connection = key.data
            connection.getresponse().read()
            self.late.append(time.monotonic() - self._asked.pop(connection))
            self._idle.append(connection)
        return 0.0

    def close(self) -> None:
        self._selector.close()
        for connection in (*self._idle, *self._asked):
            connection.close()

"""What waits for a reader that cannot keep up, within a limit in bytes."""

from collections import Counter, deque
from collections.abc import Callable

from gateway.domain.namespaces import SlowConsumer
from gateway.protocols.frames import count_frames, last_frame


class Outbox:
    """Keeps batches of messages in order, and lets go of some where the policy says so.

    What goes is always older than everything that stays, so that the order holds, and how much
    went is told exactly where it is missing: in front of the next batch that is taken.

    ``count`` and ``last`` find the messages of a batch as they were encoded: as WebSocket frames,
    unless it is said otherwise.
    """

    __slots__ = (
        "__weakref__",
        "_batches",
        "_bytes",
        "_bytes_max",
        "_count",
        "_dropped",
        "_last",
        "_totals",
        "policy",
    )

    def __init__(
        self,
        policy: SlowConsumer,
        bytes_max: int,
        count: Callable[[bytes], int] = count_frames,
        last: Callable[[bytes], bytes] = last_frame,
        totals: Counter[SlowConsumer] | None = None,
    ) -> None:
        """``totals`` is where dropped messages are counted by policy, for all outboxes."""
        self._totals = Counter() if totals is None else totals
        self.policy = policy
        self._bytes_max = bytes_max
        self._count = count
        self._last = last
        self._batches: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0

    def put(self, batch: bytes, elsewhere: int = 0) -> bool:
        """Keep the batch; ``elsewhere`` bytes wait already, in the transport.

        Return False when it does not fit and nothing may be dropped: the reader has to go.
        """
        if self.policy is SlowConsumer.LATEST_ONLY and (self._batches or elsewhere):
            # Only who lags gets less: with nothing before it, a batch goes out as it is.
            self._drop(len(self._batches))
            newest = self._last(batch)
            self._note_dropped(self._count(batch) - 1)
            self._append(newest)
            return True
        self._append(batch)
        room = self._bytes_max - elsewhere
        if self._bytes <= room:
            return True
        if self.policy is SlowConsumer.DISCONNECT:
            return False
        while self._bytes > room and len(self._batches) > 1:
            self._drop(1)
        return True

    def take(self) -> tuple[int, bytes]:
        """The number of messages that are missing here, and the batch that comes after them."""
        batch = self._batches.popleft()
        self._bytes -= len(batch)
        dropped, self._dropped = self._dropped, 0
        return dropped, batch

    def clear(self) -> None:
        self._batches.clear()
        self._bytes = 0

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._batches)

    def _append(self, batch: bytes) -> None:
        self._batches.append(batch)
        self._bytes += len(batch)

    def _drop(self, count: int) -> None:
        for _ in range(count):
            batch = self._batches.popleft()
            self._bytes -= len(batch)
            self._note_dropped(self._count(batch))

    def _note_dropped(self, count: int) -> None:
        self._dropped += count
        self._totals[self.policy] += count

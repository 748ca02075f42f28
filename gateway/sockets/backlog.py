"""What waits for a client of many channels, and to which of them it belongs."""

from collections import deque

from gateway.core.centrifuge.subscription import Subscription


class Backlog:
    """Batches in their order; `forget` takes out those of one subscription.

    A batch that belongs to no subscription is an answer, and stays.
    """

    __slots__ = ("_batches", "waiting_bytes")

    def __init__(self) -> None:
        self._batches: deque[tuple[Subscription | None, bytes]] = deque()
        self.waiting_bytes = 0

    def put(self, subscription: Subscription | None, batch: bytes) -> None:
        self._batches.append((subscription, batch))
        self.waiting_bytes += len(batch)

    def first(self) -> bytes:
        return self._batches[0][1]

    def take(self) -> bytes:
        _, batch = self._batches.popleft()
        self.waiting_bytes -= len(batch)
        return batch

    def forget(self, subscription: Subscription) -> None:
        if self._batches:
            kept = [pair for pair in self._batches if pair[0] is not subscription]
            self._batches = deque(kept)
            self.waiting_bytes = sum(len(batch) for _, batch in kept)

    def clear(self) -> None:
        self._batches.clear()
        self.waiting_bytes = 0

    def __len__(self) -> int:
        return len(self._batches)

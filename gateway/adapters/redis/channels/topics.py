"""Which topics are wanted at Redis, and which of them it has confirmed."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable


class Topics:
    """Knows what was asked and answered; whoever has the connection asks.

    Redis answers SUBSCRIBE and UNSUBSCRIBE in the order in which they were sent, so counting
    the answers that are still out tells when the last command for a topic has been carried
    out, however often it was left and joined again meanwhile.
    """

    def __init__(self) -> None:
        self.channels: dict[str, str] = {}  # what is wanted, by its name at Redis
        self._confirmed: set[str] = set()
        self._unanswered: Counter[str] = Counter()
        self._waiting: defaultdict[str, list[asyncio.Future[None]]] = defaultdict(list)

    def want(self, topic: str, channel: str) -> bool:
        """Whether that is new."""
        if topic in self.channels:
            return False
        self.channels[topic] = channel
        return True

    def sent(self, topics: Iterable[str]) -> None:
        """A command went out for each of them."""
        self._unanswered.update(topics)

    def hears(self, topic: str) -> bool:
        """Whether everything that is published there comes now."""
        return topic in self._confirmed and self.is_answered(topic)

    def is_answered(self, topic: str) -> bool:
        return not self._unanswered.get(topic)

    @property
    def are_answered(self) -> bool:
        return not self._unanswered

    async def confirmation(self, topic: str) -> None:
        """Return once the topic is confirmed; raises what `give_up` was told."""
        confirmation = asyncio.get_running_loop().create_future()
        self._waiting[topic].append(confirmation)
        try:
            await confirmation
        finally:
            waiting = self._waiting[topic]
            waiting.remove(confirmation)
            if not waiting:
                del self._waiting[topic]

    def answered(self, topic: str) -> bool:
        """One answer has come; whether it was the last one that was out."""
        self._unanswered[topic] -= 1
        if self._unanswered[topic] > 0:
            return False
        del self._unanswered[topic]
        return True

    def confirm(self, topic: str) -> None:
        self._confirmed.add(topic)
        for confirmation in self._waiting.get(topic, ()):
            if not confirmation.done():
                confirmation.set_result(None)

    def ended(self, topic: str) -> None:
        self._confirmed.discard(topic)

    def give_up(self, topic: str, why: type[Exception]) -> None:
        """Tell those who wait for the topic that there is nothing to wait for."""
        for confirmation in self._waiting.get(topic, ()):
            if not confirmation.done():
                confirmation.set_exception(why)

    def cut_off(self) -> None:
        """Everything that is wanted has to be asked for anew."""
        self._confirmed.clear()
        self._unanswered.clear()

"""One connection to a node of a cluster that listens."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, cast

import hiredis

from gateway.adapters.redis.channels.link import Link, LinkListener, Payload
from gateway.adapters.redis.cluster.slots import slot_of

_NOT_HERE = ("MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN")


class ShardedLink(Link):
    """A link to one node of a cluster, where messages go to the node that has their channel.

    One command is for one topic, for topics of several slots cannot stand in one. An error does
    not say which command it answers, so the commands without an answer stand in a row.
    """

    _message = b"smessage"

    def __init__(
        self, listener: LinkListener, clock: Callable[[], float], unsharded: Collection[str]
    ) -> None:
        """``unsharded``: the topics that belong to no slot."""
        super().__init__(listener, clock)
        self._unsharded = unsharded
        self._asked: deque[tuple[str, str]] = deque()

    def send_topics(self, verb: str, topics: Iterable[str]) -> None:
        commands: list[bytes] = []
        for topic in topics:
            if topic in self._unsharded:
                self.send(verb, topic)
                continue
            self._asked.append((verb, topic))
            commands.append(hiredis.pack_command(cast(Any, ("S" + verb, topic))))
        self._transport.write(b"".join(commands))

    def _take(self, reply: Any, payloads: list[Payload]) -> None:
        if isinstance(reply, list) and len(reply) == 3:
            kind, topic, _ = reply
            if kind in (b"ssubscribe", b"sunsubscribe"):
                self._answered(kind[1:].decode().upper(), topic.decode())
                return
        elif isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_NOT_HERE):
            self._refused(str(reply))
            return
        super()._take(reply, payloads)

    def _answered(self, verb: str, topic: str) -> None:
        if self._asked and self._asked[0] == (verb, topic):
            self._asked.popleft()
            self._listener.confirmed(topic, verb == "SUBSCRIBE")
        elif verb == "UNSUBSCRIBE":
            self._listener.dropped(topic)
        else:
            self._fail("an answer that nobody waited for")

    def _refused(self, why: str) -> None:
        _, topic = self._asked.popleft() if self._asked else ("", "")
        if not topic or (why.startswith("MOVED") and why.split()[1] != str(slot_of(topic))):
            self._fail(f"Redis answered: {why[:100]}")
        else:
            self._listener.refused(topic)
